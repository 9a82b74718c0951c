// How far the output of a container was passed on. Each of its lines begins with its time.
import { readFile, writeFile } from "node:fs/promises";
import { monotonicMs } from "../async/clock.ts";

/** How often the position is stored at most. */
const storeMs = 1_000;

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

/** The time of the last line that was passed on, in a file from which the next worker continues. */
export class LogPosition {
  #at = 0n;
  #storedAt = Number.NEGATIVE_INFINITY;

  /** `file` is the path of the file; null for none. */
  constructor(private readonly file: string | null) {}

  /** In nanoseconds since 1970; 0 before the first line. */
  get at(): bigint {
    return this.#at;
  }

  /** Takes the position of an earlier worker. Without a stored one, `readLast` returns the time of the last line. */
  async restore(readLast: () => Promise<bigint>): Promise<void> {
    const stored = this.file === null ? "" : await readFile(this.file, "utf8").catch(() => "");
    this.#at = /^\d+$/.test(stored) ? BigInt(stored) : await readLast();
  }

  /**
   * Returns the line without its time, and moves on to it. Returns null for a line that was passed on already: those of the
   * time at which the output is read again come again.
   */
  pass(line: string): string | null {
    const { at, text } = toTimedLine(line);
    if (at === null) return text;
    if (at <= this.#at) return null;
    this.#at = at;
    return text;
  }

  /** Stores the position, unless that was done just before. */
  async store(): Promise<void> {
    if (this.file === null || monotonicMs() - this.#storedAt < storeMs) return;
    this.#storedAt = monotonicMs();
    // Without the position, the next worker passes on new lines only.
    await writeFile(this.file, String(this.#at), { mode: 0o600 }).catch(() => {});
  }
}
