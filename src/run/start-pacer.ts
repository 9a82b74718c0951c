// Lets only a few programs start up at the same time. Engines that all import their code at once take as long as all of
// them together, and the first of them begins when the last one does.
import { Places } from "../async/places.ts";
import { waitAtMost } from "../async/sleep.ts";
import type { Execution } from "../infrastructure/execution.ts";

/** What an engine that starts up may need, in bytes. */
const startBytes = 150_000_000;
/** A program that starts up for longer does not count any more, because it may never say that it runs. */
const longestStartMs = 5_000;

/** A place for one program that starts up. Disposing frees it for the next one, unless it is kept. */
export interface StartPlace extends Disposable {
  /** Keeps the place until the program runs, instead of until it is disposed of. */
  keepUntilStarted(execution: Pick<Execution, "started" | "ended">): void;
}

/** The places for programs that start up. */
export class StartPacer {
  readonly #places: Places;

  /** `mostStarts` programs start up at once, fewer if less memory is free. */
  constructor(mostStarts: number, freeBytes: () => number) {
    // Programs that run by now may have taken the memory of further ones.
    this.#places = new Places(() => Math.max(1, Math.min(mostStarts, Math.floor(freeBytes() / startBytes))));
  }

  /** How many programs start up now, and how many wait for a place. */
  get counts(): { starting: number; waiting: number } {
    return { starting: this.#places.taken, waiting: this.#places.waiting };
  }

  /** Waits for a place. After an abort of `signal`, the program is not to be started, and has no place. Never rejects. */
  async enter(signal: AbortSignal): Promise<StartPlace> {
    if (!(await this.#places.enter(signal))) return { keepUntilStarted() {}, [Symbol.dispose]() {} };
    let isKept = false;
    const free = (): void => this.#places.leave();
    return {
      keepUntilStarted({ started, ended }) {
        isKept = true;
        void waitAtMost(Promise.race([started, ended]), longestStartMs, new AbortController().signal).then(free);
      },
      [Symbol.dispose]() {
        if (!isKept) free();
      },
    };
  }
}
