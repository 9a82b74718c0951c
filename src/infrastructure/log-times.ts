// The times of the lines that containers print.

/** Returns the nanoseconds since 1970 of a time of RFC 3339; null for another text. */
function toNanoseconds(time: string): bigint | null {
  const [, second, fraction = "", zone] =
    /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d+))?(Z|[+-]\d\d:\d\d)$/.exec(time) ?? [];
  const ms = Date.parse(`${second}${zone}`);
  return Number.isNaN(ms) ? null : BigInt(ms) * 1_000_000n + BigInt(fraction.padEnd(9, "0").slice(0, 9));
}

/** A line with its time, which is null for a line without one. */
export interface TimedLine {
  readonly at: bigint | null;
  readonly text: string;
}

/** Takes the time off a line. */
export function toTimedLine(line: string): TimedLine {
  const [, time, rest = ""] = /^(\d{4}-\d\d-\d\dT\S+) ?([\s\S]*)$/.exec(line) ?? [];
  const at = time === undefined ? null : toNanoseconds(time);
  return { at, text: at === null ? line : rest };
}
