// Waits and signals that follow the cancellation of a flow run.
import { setMaxListeners } from "node:events";
import { type CancelTimer, startTimer } from "../async/clock.ts";

/** A signal that follows another one and can abort by itself. Disposing ends its timer and forgets the other signal. */
export interface Linked extends Disposable {
  readonly signal: AbortSignal;
  /** Aborts after a time. */
  abortAfter(ms: number, reason: () => Error): void;
}

/** Returns a signal that aborts with `earlier`. */
export function linkTo(earlier: AbortSignal): Linked {
  const controller = new AbortController();
  // Each call of a task may listen.
  setMaxListeners(0, controller.signal);
  const follow = (): void => controller.abort(earlier.reason);
  let cancelTimer: CancelTimer | undefined;
  if (earlier.aborted) follow();
  else earlier.addEventListener("abort", follow, { once: true });
  return {
    signal: controller.signal,
    abortAfter(ms, reason) {
      cancelTimer = startTimer(ms, () => controller.abort(reason()));
    },
    [Symbol.dispose]() {
      cancelTimer?.();
      earlier.removeEventListener("abort", follow);
    },
  };
}

/** Rejects with the reason when the signal aborts. */
export function untilAborted(signal: AbortSignal): Promise<never> {
  return new Promise((_resolve, reject) => {
    if (signal.aborted) reject(abortReason(signal));
    signal.addEventListener("abort", () => reject(abortReason(signal)), { once: true });
  });
}

/** Waits, or until the signal aborts. */
export async function sleepUnlessAborted(ms: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  await new Promise<void>((resolve) => {
    const end = (): void => {
      cancel();
      signal.removeEventListener("abort", end);
      resolve();
    };
    const cancel = startTimer(ms, end);
    signal.addEventListener("abort", end, { once: true });
  });
}

/** Returns the reason of an aborted signal. */
export function abortReason(signal: AbortSignal): unknown {
  return signal.reason;
}
