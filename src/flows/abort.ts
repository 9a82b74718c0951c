// Signals that follow the cancellation of a flow run.
import { setMaxListeners } from "node:events";
import { type CancelTimer, startTimer } from "../async/clock.ts";
import { LinkedController } from "../async/linked-controller.ts";

/** A signal that follows another one and can abort by itself. Disposing ends its timer and forgets the other signal. */
export interface Linked extends Disposable {
  readonly signal: AbortSignal;
  /** Aborts after a time. */
  abortAfter(ms: number, reason: () => Error): void;
}

/** Returns a signal that aborts with `earlier`. */
export function linkTo(earlier: AbortSignal): Linked {
  const controller = new LinkedController(earlier);
  // Each call of a task may listen.
  setMaxListeners(0, controller.signal);
  let cancelTimer: CancelTimer | undefined;
  return {
    signal: controller.signal,
    abortAfter(ms, reason) {
      cancelTimer = startTimer(ms, () => controller.abort(reason()));
    },
    [Symbol.dispose]() {
      cancelTimer?.();
      controller[Symbol.dispose]();
    },
  };
}

/** Rejects with the reason when the signal aborts. */
export function untilAborted(signal: AbortSignal): Promise<never> {
  return new Promise((_resolve, reject) => {
    if (signal.aborted) reject(signal.reason);
    signal.addEventListener("abort", () => reject(signal.reason), { once: true });
  });
}
