// How far an output was passed on, in a file from which the next worker continues.
import { rename, writeFile } from "node:fs/promises";

/** Resolves when all lines that were passed on have arrived where they go, or were given up. Never rejects. */
export type LinesSettled = (options?: { soon?: boolean }) => Promise<void>;

/**
 * Stores positions. A position is stored when the lines before it have arrived. If the worker is killed before that, the
 * next one passes these lines on again, because that is better than to lose them.
 */
export class StoredPosition<T extends number | bigint> {
  #noted: T;
  #isFollowing = false;
  #writing: Promise<void> = Promise.resolve();

  constructor(
    /** Null for no file. */
    private readonly path: string | null,
    private at: T,
    /** Null if lines have arrived as soon as they are passed on. */
    private readonly settled: LinesSettled | null,
  ) {
    this.#noted = at;
  }

  /** The position in the file. */
  get stored(): T {
    return this.at;
  }

  /** The output was passed on up to here. Stores that in the background. */
  note(position: T): void {
    this.#noted = position;
    if (!this.#isFollowing) void this.#follow();
  }

  /** Stores the position at once. Never rejects. */
  async store(position: T): Promise<void> {
    this.at = position;
    this.#writing = this.#writing.then(async () => await this.#write(String(position)));
    await this.#writing;
  }

  async #follow(): Promise<void> {
    this.#isFollowing = true;
    while (this.#noted > this.at) {
      const position = this.#noted;
      await this.settled?.();
      if (position > this.at) await this.store(position);
    }
    this.#isFollowing = false;
  }

  async #write(text: string): Promise<void> {
    if (this.path === null) return;
    try {
      // A worker that is killed meanwhile must not leave an empty file.
      await writeFile(`${this.path}.new`, text, { mode: 0o600 });
      await rename(`${this.path}.new`, this.path);
    } catch {
      // On a full disk the position is not stored, and the next reader may repeat some lines.
    }
  }
}
