// The rhythm of the worker's two loops: jitter, back-off, and when to give up.
// Source: prefect utilities/services.py critical_service_loop.
import { isTransient } from "../api/errors.ts";
import { clampedPoissonMs } from "../async/jitter.ts";

const failuresUntilBackOff = 3;
const backOffsUntilGivingUp = 4;
const jitterFactor = 0.3;
const rememberedErrors = 10;

/** What a loop does and how it waits. */
export interface ServiceLoop {
  intervalMs: number;
  turn: (signal: AbortSignal) => Promise<void>;
  /** Waits about `ms`; may return earlier when there is a reason to. */
  wait: (ms: number, signal: AbortSignal) => Promise<void>;
  announce: (message: string) => void;
  random: () => number;
}

/**
 * Repeats `turn` until `signal` aborts. After three failures in a row that may pass it says so and doubles the interval,
 * after the fourth such row it gives up. Throws then, and at once for a failure that will not pass.
 */
export async function serviceLoop(loop: ServiceLoop, signal: AbortSignal): Promise<void> {
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
      const seconds = (loop.intervalMs / 1000) * 2 ** backOffs;
      loop.announce(`Backing off due to consecutive errors, using increased interval of ${seconds}s.`);
    }
    await loop.wait(clampedPoissonMs(loop.intervalMs * 2 ** backOffs, jitterFactor, loop.random), signal);
  }
}

/** A loop that gave up. */
export class ServiceError extends Error {
  override readonly name = "ServiceError";
  constructor(message: string, cause: Error | undefined) {
    super(cause ? `${message} Last error: ${cause.message}` : message, { cause });
  }
}

/** The newest error of each kind, so that twelve times the same is said once. */
function announceFailures(announce: (message: string) => void, failed: readonly Error[]): void {
  announce(`\nFailed the last ${failuresUntilBackOff} attempts. Please check your environment and configuration.`);
  const newest = new Map(failed.map((error) => [error.name, error]));
  for (const error of [...newest.values()].slice(0, rememberedErrors)) announce(`${error.name}: ${error.message}`);
}
