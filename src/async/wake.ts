// Interruptible sleep of a loop. Any other part of the program can end the sleep early and say why.
import { startTimer } from "./clock.ts";

/** Why a sleep ended: its time was over, its signal aborted, or `wake` was called with this reason. */
export type WakeReason = "timeout" | "stopped" | "event" | "connected" | "slot" | "pool" | "full";

/**
 * One loop sleeps, and any number of callers wake it. A wake without a sleeper ends the next sleep. Several count as
 * one.
 */
export class Wake {
  #pending: WakeReason | undefined;
  #resume: ((reason: WakeReason) => void) | undefined;

  /** Ends the current sleep, or the next one at once. */
  wake(reason: WakeReason): void {
    if (this.#resume) this.#resume(reason);
    // An event is the weakest reason: the sleeper may go on sleeping after it.
    else if (reason !== "event" || this.#pending === undefined) this.#pending = reason;
  }

  /** Sleeps until a wake, at most `ms` milliseconds, or until `signal` aborts. Returns why the sleep ended. */
  async sleep(ms: number, signal: AbortSignal): Promise<WakeReason> {
    const pending = this.#pending;
    this.#pending = undefined;
    if (signal.aborted) return "stopped";
    if (pending) return pending;
    return await new Promise<WakeReason>((resolve) => {
      const end = (reason: WakeReason): void => {
        cancelTimer();
        signal.removeEventListener("abort", onAbort);
        this.#resume = undefined;
        resolve(reason);
      };
      const onAbort = (): void => end("stopped");
      const cancelTimer = startTimer(ms, () => end("timeout"));
      signal.addEventListener("abort", onAbort);
      this.#resume = end;
    });
  }
}
