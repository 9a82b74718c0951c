// A signal that follows another one after a delay.
import { setMaxListeners } from "node:events";
import { type CancelTimer, startTimer } from "./clock.ts";

/** A signal of its own. Disposing forgets the signal that it follows, and then it never aborts. */
export interface LaterSignal extends Disposable {
  readonly signal: AbortSignal;
}

/** Returns a signal that aborts `ms` milliseconds after `earlier` has aborted, with the same reason. */
export function abortLater(earlier: AbortSignal, ms: number): LaterSignal {
  const later = new AbortController();
  setMaxListeners(0, later.signal);
  let cancelTimer: CancelTimer | undefined;
  const onAbort = (): void => {
    cancelTimer = startTimer(ms, () => later.abort(earlier.reason));
  };
  if (earlier.aborted) onAbort();
  else earlier.addEventListener("abort", onAbort, { once: true });
  return {
    signal: later.signal,
    [Symbol.dispose]() {
      cancelTimer?.();
      earlier.removeEventListener("abort", onAbort);
    },
  };
}
