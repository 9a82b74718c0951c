// Notices that the event loop or the whole machine stood still. Nothing of lictor runs meanwhile: no poll, no heartbeat, no
// cancellation, and no answer to /health.
import { monotonicMs, startTimer } from "../async/clock.ts";
import type { Logger } from "../logger.ts";

/** More often would wake an idle machine. So a stall may last up to a second longer than it is logged. */
const intervalMs = 1_000;
/** A shorter delay matters to nothing. */
const minStallMs = 1_000;

/**
 * Logs each stall of two seconds or more, with its length, until it is disposed. A timer cannot see the cause: a long
 * computation, a machine without processor time, SIGSTOP, or a machine that slept.
 */
export function watchStalls(log: Logger): Disposable {
  let cancelTimer = (): void => {};
  const start = (): void => {
    const dueAt = monotonicMs() + intervalMs;
    cancelTimer = startTimer(intervalMs, () => {
      const lateMs = monotonicMs() - dueAt;
      if (lateMs > minStallMs)
        log.warn(
          `The event loop or the machine stood still for ${(lateMs / 1000).toFixed(1)} s. Polls, heartbeats and cancellations were late.`,
        );
      start();
    });
  };
  start();
  return { [Symbol.dispose]: () => cancelTimer() };
}
