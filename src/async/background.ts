// Work that runs in the background, and its owner.
import { aborted } from "./sleep.ts";

/** Keeps background promises until they have settled, so that no failure is lost and the program can wait for them. */
export class Background {
  readonly #running = new Set<Promise<void>>();

  /** Runs `work` in the background. A failure goes to `onError`. */
  run(work: () => Promise<unknown>, onError: (error: unknown) => void): void {
    const running: Promise<void> = work()
      .then(() => undefined, onError)
      .finally(() => this.#running.delete(running));
    this.#running.add(running);
  }

  /** Waits for all work, also for work that starts during the wait, at most until `deadline` aborts. */
  async waitForAll(deadline: AbortSignal): Promise<void> {
    const over = aborted(deadline);
    while (this.#running.size > 0 && !deadline.aborted) await Promise.race([Promise.all(this.#running), over]);
  }
}
