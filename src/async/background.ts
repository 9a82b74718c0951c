// Work nobody waits for, but that somebody owns.
import { aborted } from "./sleep.ts";

/** Keeps hold of promises until they have settled, so that none is lost and the end can wait for them. */
export class Background {
  readonly #running = new Set<Promise<void>>();

  /** Runs `work`; its failure goes to `onError`. */
  run(work: () => Promise<unknown>, onError: (error: unknown) => void): void {
    const running: Promise<void> = work()
      .then(() => undefined, onError)
      .finally(() => this.#running.delete(running));
    this.#running.add(running);
  }

  /** Waits for all work, that started meanwhile included, at most until `deadline` aborts. */
  async settled(deadline: AbortSignal): Promise<void> {
    const over = aborted(deadline);
    while (this.#running.size > 0 && !deadline.aborted) await Promise.race([Promise.all(this.#running), over]);
  }
}
