// A loop sleeps on a Wake; anything that gives it a reason to look again ends that sleep early.

import { longestTimerMs } from "./sleep.ts";

/** Why a sleeping loop went on: its time was up, it was stopped, or somebody gave a reason. */
export type WakeReason = "timeout" | "stopped" | "event" | "connected" | "slot" | "pool" | "full";

/** One sleeper, any number of wakers. A wake while nobody sleeps is remembered, several are one. */
export class Wake {
  #pending: WakeReason | undefined;
  #resume: ((reason: WakeReason) => void) | undefined;

  /** Ends the current sleep, or makes the next one return at once. */
  wake(reason: WakeReason): void {
    if (this.#resume) this.#resume(reason);
    else this.#pending = reason;
  }

  /** Sleeps until a wake, `ms` milliseconds, or the abort of `signal`, whichever is first. */
  async sleep(ms: number, signal: AbortSignal): Promise<WakeReason> {
    const pending = this.#pending;
    this.#pending = undefined;
    if (signal.aborted) return "stopped";
    if (pending) return pending;
    return await new Promise<WakeReason>((resolve) => {
      const end = (reason: WakeReason): void => {
        clearTimeout(timer);
        signal.removeEventListener("abort", onAbort);
        this.#resume = undefined;
        resolve(reason);
      };
      const onAbort = (): void => end("stopped");
      const timer = setTimeout(end, Math.min(ms, longestTimerMs), "timeout");
      signal.addEventListener("abort", onAbort);
      this.#resume = end;
    });
  }
}
