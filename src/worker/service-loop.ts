// A loop with jitter, back-off, and a limit of failures. The poll loop and the sync loop use it.
// Source: prefect utilities/services.py critical_service_loop.
import { isTransient } from "../api/errors.ts";
import { clampedPoissonMs } from "../async/jitter.ts";

const failuresUntilBackOff = 3;
const backOffsUntilGivingUp = 4;
const jitterFactor = 0.3;
/** A shorter interval would make a busy loop. The settings allow none; this holds for every other caller. */
const leastIntervalMs = 100;
const rememberedErrors = 10;

/** What a loop does and how it waits. */
export interface ServiceLoop {
  /** Less than 100 ms counts as 100 ms. */
  intervalMs: number;
  turn: (signal: AbortSignal) => Promise<void>;
  /** Waits about `ms` milliseconds. It may return earlier when there is a reason for the next turn. */
  wait: (ms: number, signal: AbortSignal) => Promise<void>;
  announce: (message: string) => void;
  random: () => number;
}

/**
 * Repeats `turn` until `signal` aborts. After three transient failures in a row it announces them and doubles the
 * interval. After the fourth such row it throws ServiceError. Any other failure is thrown at once.
 */
export async function serviceLoop(loop: ServiceLoop, signal: AbortSignal): Promise<void> {
  const intervalMs = Math.max(leastIntervalMs, loop.intervalMs);
  let failed: Error[] = [];
  let backOffs = 0;
  while (!signal.aborted) {
    try {
      await loop.turn(signal);
      failed = [];
      if (backOffs > 0) loop.announce("Resetting backoff due to successful run.");
      backOffs = 0;
    } catch (error) {
      if (signal.aborted) return;
      if (!isTransient(error)) throw error;
      failed.push(error as Error);
    }
    if (failed.length === failuresUntilBackOff) {
      announceFailures(loop.announce, failed);
      if (++backOffs === backOffsUntilGivingUp)
        throw new ServiceError("Service exceeded error threshold.", failed.at(-1));
      failed = [];
      const seconds = (intervalMs / 1000) * 2 ** backOffs;
      loop.announce(`Backing off due to consecutive errors, using increased interval of ${seconds}s.`);
    }
    await loop.wait(clampedPoissonMs(intervalMs * 2 ** backOffs, jitterFactor, loop.random), signal);
  }
}

/** Too many transient failures in a row. */
export class ServiceError extends Error {
  override readonly name = "ServiceError";
  constructor(message: string, cause: Error | undefined) {
    super(cause ? `${message} Last error: ${cause.message}` : message, { cause });
  }
}

/** Announces the newest error of each class, so that the same error is not repeated. */
function announceFailures(announce: (message: string) => void, failed: readonly Error[]): void {
  announce(`\nFailed the last ${failuresUntilBackOff} attempts. Please check your environment and configuration.`);
  const newest = new Map(failed.map((error) => [error.name, error]));
  for (const error of [...newest.values()].slice(0, rememberedErrors)) announce(`${error.name}: ${error.message}`);
}
