// Lets only a few programs start up at the same time. Engines that all import their code at once take as long as all of
// them together, and the first of them begins when the last one does.
import { waitAtMost, waitUnlessAborted } from "../async/sleep.ts";
import type { Execution } from "../infrastructure/pool-type.ts";

/** What an engine that starts up may need, in bytes. */
const startBytes = 150_000_000;
/** A program that starts up for longer does not count any more, because it may never say that it runs. */
const longestStartMs = 5_000;

/** A place for one program that starts up. Disposing frees it for the next one, unless it is kept. */
export interface StartPlace extends Disposable {
  /** Keeps the place until the program runs, instead of until it is disposed of. */
  keepUntilStarted(execution: Pick<Execution, "started" | "ended">): void;
}

/** The places for programs that start up. The first to wait is the first to get a place. */
export class StartPacer {
  readonly #waiting: (() => void)[] = [];
  #taken = 0;

  /** `mostStarts` programs start up at once, fewer if less memory is free. */
  constructor(
    private readonly mostStarts: number,
    private readonly freeBytes: () => number,
  ) {}

  /** How many programs start up now, and how many wait for a place. */
  get counts(): { starting: number; waiting: number } {
    return { starting: this.#taken, waiting: this.#waiting.length };
  }

  /** Waits for a place. After an abort of `signal`, the program is not to be started, and has no place. Never rejects. */
  async enter(signal: AbortSignal): Promise<StartPlace> {
    let give = (): void => {};
    const given = new Promise<void>((resolve) => {
      give = resolve;
    });
    this.#waiting.push(give);
    this.#giveFree();
    if (this.#waiting.includes(give)) await waitUnlessAborted(given, signal);
    const index = this.#waiting.indexOf(give);
    if (index === -1) return this.#place();
    this.#waiting.splice(index, 1);
    return { keepUntilStarted() {}, [Symbol.dispose]() {} };
  }

  /** Gives the free places to those that wait. Programs that run by now may have taken the memory of further ones. */
  #giveFree(): void {
    const most = Math.max(1, Math.min(this.mostStarts, Math.floor(this.freeBytes() / startBytes)));
    while (this.#taken < most) {
      const next = this.#waiting.shift();
      if (!next) return;
      this.#taken += 1;
      next();
    }
  }

  #place(): StartPlace {
    let isKept = false;
    const free = (): void => {
      this.#taken -= 1;
      this.#giveFree();
    };
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
