// Work that runs in the background, and its owner.
import { setMaxListeners } from "node:events";
import { aborted } from "./sleep.ts";

/** Keeps background promises until they have settled, so that no failure is lost and the program can wait for them. */
export class Background {
  readonly #running = new Set<Promise<void>>();
  readonly #closing = new AbortController();

  constructor() {
    setMaxListeners(0, this.#closing.signal);
  }

  /**
   * Runs `work` in the background. A failure goes to `onError`. The signal aborts when the program closes. Work must give
   * it to its requests, because a request that is repeated without an end would keep the program alive. Returns a promise
   * that resolves at the end of the work and never rejects.
   */
  run(work: (closing: AbortSignal) => Promise<unknown>, onError: (error: unknown) => void): Promise<void> {
    const running: Promise<void> = work(this.#closing.signal)
      .then(() => undefined, onError)
      .finally(() => this.#running.delete(running));
    this.#running.add(running);
    return running;
  }

  /**
   * Waits for all work, also for work that starts during the wait, at most until `deadline` aborts. Then aborts the rest
   * and does not wait for it.
   */
  async close(deadline: AbortSignal): Promise<void> {
    const over = aborted(deadline);
    while (this.#running.size > 0 && !deadline.aborted) await Promise.race([Promise.all(this.#running), over]);
    this.#closing.abort(new Error("no response before the end of the worker"));
  }
}
