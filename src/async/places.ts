// A number of places for work that runs at the same time. The first to wait is the first to get a place.
import { waitUnlessAborted } from "./sleep.ts";

/** The limit may change: it is asked for whenever a place could be given. */
export class Places {
  readonly #waiting: (() => void)[] = [];
  #taken = 0;

  constructor(private readonly limit: () => number) {}

  /** How many places are taken. */
  get taken(): number {
    return this.#taken;
  }

  /** How many wait for a place. */
  get waiting(): number {
    return this.#waiting.length;
  }

  /** Waits for a place, which `leave` frees. Returns false if `signal` aborts before that. Never rejects. */
  async enter(signal: AbortSignal): Promise<boolean> {
    let give = (): void => {};
    const given = new Promise<void>((resolve) => {
      give = resolve;
    });
    this.#waiting.push(give);
    this.#giveFree();
    if (this.#waiting.includes(give)) await waitUnlessAborted(given, signal);
    const index = this.#waiting.indexOf(give);
    if (index === -1) return true;
    this.#waiting.splice(index, 1);
    return false;
  }

  /** Frees a place. */
  leave(): void {
    this.#taken -= 1;
    this.#giveFree();
  }

  #giveFree(): void {
    const limit = this.limit();
    while (this.#taken < limit) {
      const next = this.#waiting.shift();
      if (!next) return;
      this.#taken += 1;
      next();
    }
  }
}
