// Waits that end without an error when a signal aborts.
import { startTimer } from "./clock.ts";
import { LinkedController } from "./linked-controller.ts";

/** Waits `ms` milliseconds, or until `signal` aborts. */
export async function sleep(ms: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  await new Promise<void>((resolve) => {
    const end = (): void => {
      cancelTimer();
      signal.removeEventListener("abort", end);
      resolve();
    };
    const cancelTimer = startTimer(ms, end);
    signal.addEventListener("abort", end);
  });
}

/** Resolves when `signal` aborts, or at once if it has aborted. */
export async function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  await new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
}

/** Waits for `event`, or until `signal` aborts. Rejects if `event` rejects. Leaves no listener on `signal`. */
export async function waitUnlessAborted(event: Promise<unknown>, signal: AbortSignal): Promise<void> {
  using end = new LinkedController(signal);
  await Promise.race([event, aborted(end.signal)]);
}

/** Waits for `event`, at most `ms` milliseconds, or until `signal` aborts. Rejects if `event` rejects. */
export async function waitAtMost(event: Promise<unknown>, ms: number, signal: AbortSignal): Promise<void> {
  using over = new LinkedController(signal);
  // Ends the timer, because it would keep the program alive.
  await Promise.race([event, sleep(ms, over.signal)]).finally(() => over.abort());
}
