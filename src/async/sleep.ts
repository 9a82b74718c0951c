// Waiting that an abort ends quietly.
import { setTimeout as delay } from "node:timers/promises";

/** Milliseconds, 24 days. A timer of Node.js that is set for longer fires at once. */
export const longestTimerMs = 2 ** 31 - 1;

/** Waits `ms` milliseconds, or less: an abort ends the wait without an error. */
export async function sleep(ms: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  await delay(Math.min(ms, longestTimerMs), undefined, { signal }).catch((error: unknown) => {
    if (!signal.aborted) throw error;
  });
}

/** Resolves when `signal` aborts; at once if it already has. */
export async function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  await new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
}

/** Waits for `event`, `ms` milliseconds at most; an abort ends the wait too. Leaves no timer behind. */
export async function waitAtMost(event: Promise<unknown>, ms: number, signal: AbortSignal): Promise<void> {
  const over = new AbortController();
  // Or the timer would keep the program alive.
  await Promise.race([event, sleep(ms, AbortSignal.any([signal, over.signal]))]).finally(() => over.abort());
}
