// How far the output of a container was passed on. Each of its lines begins with its time.
import { readFile } from "node:fs/promises";
import { monotonicMs } from "../async/clock.ts";
import { waitAtMost } from "../async/sleep.ts";
import { type LinesSettled, StoredPosition } from "../process/stored-position.ts";

/** How often the position is stored at most. */
const storeMs = 1_000;
/** The last lines arrive within this time, or not at all. */
const lastLinesMs = 10_000;

/** Returns the nanoseconds since 1970 of a time of RFC 3339; null for another text. */
function toNanoseconds(time: string): bigint | null {
  const [, second, fraction = "", zone] =
    /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d+))?(Z|[+-]\d\d:\d\d)$/.exec(time) ?? [];
  const ms = Date.parse(`${second}${zone}`);
  return Number.isNaN(ms) ? null : BigInt(ms) * 1_000_000n + BigInt(fraction.padEnd(9, "0").slice(0, 9));
}

/** A line with its time, which is null for a line without one. */
interface TimedLine {
  readonly at: bigint | null;
  readonly text: string;
}

/** Takes the time off a line. */
export function toTimedLine(line: string): TimedLine {
  const [, time, rest = ""] = /^(\d{4}-\d\d-\d\dT\S+) ?([\s\S]*)$/.exec(line) ?? [];
  const at = time === undefined ? null : toNanoseconds(time);
  return { at, text: at === null ? line : rest };
}

/** How far an output was passed on: up to the line of this number among those with this time. */
export interface LinesUntil {
  /** In nanoseconds since 1970. */
  readonly at: bigint;
  readonly count: number;
}

/** Both are stored as one number. A second may have many lines with the same time, because Podman 4 gives whole seconds. */
const mostPerTime = 1_000_000n;

/** How far the output was passed on, in a file from which the next worker continues. */
export class LogPosition {
  #at = 0n;
  /** How many of the lines with the time `#at` were passed on. */
  #count = 0;
  /** The lines up to here come again. */
  #repeated: { readonly at: bigint; left: number } = { at: 0n, left: 0 };
  #notedAt = Number.NEGATIVE_INFINITY;
  readonly #stored: StoredPosition<bigint>;

  /** `file` is the path of the file; null for none. `settled` tells when the lines have arrived; null for at once. */
  constructor(
    private readonly file: string | null,
    private readonly settled: LinesSettled | null = null,
  ) {
    this.#stored = new StoredPosition(file, 0n, settled);
  }

  /** The time of the last line, in nanoseconds since 1970; 0 before the first line. */
  get at(): bigint {
    return this.#at;
  }

  /** The output is read from its begin. The next worker also does that, as long as no line has arrived. */
  async begin(): Promise<void> {
    if (this.settled) await this.#stored.store(0n);
  }

  /** Takes the position of an earlier worker. Without a stored one, `readLast` returns the end of the output. */
  async restore(readLast: () => Promise<LinesUntil>): Promise<void> {
    const text = this.file === null ? "" : await readFile(this.file, "utf8").catch(() => "");
    const stored = /^\d+$/.test(text) ? BigInt(text) : null;
    const { at, count } =
      stored === null ? await readLast() : { at: stored / mostPerTime, count: Number(stored % mostPerTime) };
    this.#at = at;
    this.#count = count;
  }

  /** From here on, the output is read from the time of the position on. */
  reopen(): void {
    this.#repeated = { at: this.#at, left: this.#count };
  }

  /**
   * Returns the line without its time, and moves on to it. Returns null for a line that comes again after `reopen`. Lines of
   * two streams may be out of order by a moment.
   */
  pass(line: string): string | null {
    const { at, text } = toTimedLine(line);
    if (at === null) return text;
    if (at < this.#repeated.at) return null;
    if (at === this.#repeated.at && this.#repeated.left > 0) {
      this.#repeated.left -= 1;
      return null;
    }
    if (at === this.#at) this.#count += 1;
    else if (at > this.#at) [this.#at, this.#count] = [at, 1];
    return text;
  }

  /** Has the position stored, unless that was done just before. Without it, the next worker passes on new lines only. */
  note(): void {
    if (this.file === null || (this.settled === null && monotonicMs() - this.#notedAt < storeMs)) return;
    this.#notedAt = monotonicMs();
    this.#stored.note(this.#toStored());
  }

  /** Waits until the last lines have arrived, and stores the position then. Never rejects. */
  async finish(): Promise<void> {
    if (this.file === null || this.settled === null || this.#at === 0n) return;
    await waitAtMost(this.settled({ soon: true }), lastLinesMs, new AbortController().signal);
    await this.#stored.store(this.#toStored());
  }

  #toStored(): bigint {
    const count = BigInt(this.#count);
    return this.#at * mostPerTime + (count < mostPerTime ? count : mostPerTime - 1n);
  }
}
