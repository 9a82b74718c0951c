// Waiting on a condition instead of on the clock.
import { setTimeout as delay } from "node:timers/promises";
import { inspect } from "node:util";

/** Machines of CI are slow at times, and a wait that is over early costs nothing. */
const patience = process.env.CI ? 3 : 1;

/** `what` completes the sentence "timed out waiting for …". */
export interface WaitOptions {
  timeoutMs: number;
  what: string;
  intervalMs?: number;
}

/** Calls `predicate` until it gives something truthy, and returns that; fails with the last value seen. */
export async function waitFor<T>(
  predicate: () => T | Promise<T>,
  { timeoutMs, what, intervalMs = 50 }: WaitOptions,
): Promise<Exclude<T, undefined | null | false>> {
  const deadlineMs = performance.now() + timeoutMs * patience;
  for (;;) {
    const value = await predicate();
    if (value) return value as Exclude<T, undefined | null | false>;
    if (performance.now() >= deadlineMs) {
      throw new Error(
        `timed out after ${timeoutMs * patience} ms waiting for ${what}; last value seen: ${inspect(value)}`,
      );
    }
    await delay(intervalMs);
  }
}
