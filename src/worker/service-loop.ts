// A loop with jitter and back-off that outlives every outage of the API. The poll loop and the sync loop use it.
// Source: prefect utilities/services.py critical_service_loop, which gives up after twelve failures.
import { ApiError, isTransient } from "../api/errors.ts";
import { monotonicMs } from "../async/clock.ts";
import { clampedPoissonMs } from "../async/jitter.ts";
import type { LoopName, Outage } from "./outage.ts";

/** After so many failures in a row the API counts as away, and the waits grow. */
const failuresUntilOutage = 3;
const jitterFactor = 0.3;
/** A shorter interval would make a busy loop. The settings allow none; this holds for every other caller. */
const leastIntervalMs = 100;
/** The longest wait after a failure, unless the interval is longer. */
const longestWaitMs = 60_000;

/** What a loop does and how it waits. */
export interface ServiceLoop {
  name: LoopName;
  /** Less than 100 ms counts as 100 ms. */
  intervalMs: number;
  turn: (signal: AbortSignal) => Promise<void>;
  /** Returns true if the server has accepted a request of this loop before. */
  hasWorked: () => boolean;
  /** Waits about `ms` milliseconds. It may return earlier when there is a reason for the next turn. */
  wait: (ms: number, signal: AbortSignal) => Promise<void>;
  outage: Outage;
  random: () => number;
}

/**
 * Repeats `turn` until `signal` aborts. From the third failure in a row on, it reports an outage and doubles the wait each
 * time, up to 60 s. Throws a refusal by the API only if the loop has never worked: then a setting is wrong. Later a key may
 * have expired, or a firewall may respond, and both may end. Throws any error that is none of the API.
 */
export async function serviceLoop(loop: ServiceLoop, signal: AbortSignal): Promise<void> {
  const { name, outage, random } = loop;
  const intervalMs = Math.max(leastIntervalMs, loop.intervalMs);
  let failures = 0;
  let since = 0;
  try {
    while (!signal.aborted) {
      const startedAt = monotonicMs();
      try {
        await loop.turn(signal);
        failures = 0;
        outage.end(name);
      } catch (error) {
        if (signal.aborted) return;
        if (!isOutage(error, loop.hasWorked())) throw error;
        if (failures++ === 0) since = startedAt;
        if (failures >= failuresUntilOutage) outage.report(name, error, { failures, since });
      }
      await loop.wait(clampedPoissonMs(averageWaitMs(intervalMs, failures), jitterFactor, random), signal);
    }
  } finally {
    outage.forget(name);
  }
}

function isOutage(error: unknown, hasWorked: boolean): error is Error {
  return isTransient(error) || (hasWorked && error instanceof ApiError);
}

/** With its jitter, the wait is at most 60 s or 1.3 intervals. */
function averageWaitMs(intervalMs: number, failures: number): number {
  if (failures < failuresUntilOutage) return intervalMs;
  const longestMs = Math.max(intervalMs, longestWaitMs / (1 + jitterFactor));
  return Math.min(intervalMs * 2 ** (failures - failuresUntilOutage + 1), longestMs);
}
