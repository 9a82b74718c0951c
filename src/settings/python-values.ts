// Numbers, lists and durations as pydantic reads them from text, TOML or JSON. Each function returns undefined for a value
// that pydantic refuses.

/** Decoded JSON, or undefined when `text` is not JSON. As in Python, NaN and Infinity are JSON too. */
export function tryParseJson(text: string): unknown {
  const special: Readonly<Record<string, number>> = { NaN: Number.NaN, Infinity, "-Infinity": -Infinity };
  const number = special[text.trim()];
  if (number !== undefined) return number;
  try {
    return JSON.parse(text);
  } catch {
    // Not an error here: the caller says what it expected instead of JSON.
    return undefined;
  }
}

/** The value of a variable for a setting that may be JSON: decoded if it is JSON, else the text. */
export function decoded(value: unknown): unknown {
  return typeof value === "string" ? (tryParseJson(value) ?? value) : value;
}

/** The numbers that a setting takes. */
export interface Bounds {
  readonly min?: number;
  /** like `min`, but the number itself is refused */
  readonly above?: number;
  readonly max?: number;
}

/** Whether a number keeps to the bounds; NaN is within none. */
export function isWithinBounds(value: number, { min = value, above, max = value }: Bounds): boolean {
  if (Number.isNaN(value)) return Number.isNaN(min) && Number.isNaN(max) && above === undefined;
  return value >= min && value <= max && (above === undefined || value > above);
}

/** A whole number. One above 2 ** 53 is rounded. */
export function parseInteger(value: unknown): number | undefined {
  if (typeof value === "bigint") return Number(value);
  const number = typeof value === "string" ? parseNumber(value, /^[+-]?\d+(\.0+)?$/) : value;
  // Adding 0 turns -0 into 0.
  return Number.isInteger(number) ? (number as number) + 0 : undefined;
}

/** The digits of a whole number that `parseInteger` has accepted, without rounding. */
export function integerText(value: unknown): string {
  return BigInt(
    String(value)
      .trim()
      .replace(/_|\.0+$/g, "")
      .replace(/^\+/, ""),
  ).toString();
}

/** A number, infinity or NaN. */
export function parseFloatingPoint(value: unknown): number | undefined {
  if (typeof value === "bigint") return Number(value);
  if (typeof value !== "string") return typeof value === "number" ? value : undefined;
  const [, sign, word] = /^\s*([+-]?)(?:(inf)(?:inity)?|nan)\s*$/i.exec(value) ?? [];
  if (sign === undefined) return parseNumber(value, /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i);
  if (word === undefined) return Number.NaN;
  return sign === "-" ? -Infinity : Infinity;
}

function parseNumber(text: string, pattern: RegExp): number | undefined {
  const digits = text.trim().replace(/(?<=\d)_(?=\d)/g, "");
  return pattern.test(digits) ? Number(digits) : undefined;
}

/**
 * The items of a set: of an array, of a JSON array, of a text separated by commas, or a single value. What Python takes
 * for false is the empty set. Source: prefect types/__init__.py validate_set_T_from_delim_string.
 */
export function parseItems(value: unknown): readonly unknown[] {
  const items = decoded(value);
  if (Array.isArray(items)) return items;
  if (typeof items === "string") return items === "" ? [] : items.split(",").map((item) => item.trim());
  return isFalse(items) ? [] : [items];
}

function isFalse(value: unknown): boolean {
  return !value || (typeof value === "object" && Object.keys(value).length === 0);
}

/** Seconds of a time such as `1:30:00`, `2 days 1:00:00` or `PT90S`. Source: the timedelta of pydantic. */
export function parseDuration(text: string): number | undefined {
  const unit = (letter: string): string => `(?:\\d+(?:[.,]\\d+)?${letter})`;
  const date = `(?:${["Y", "M", "W", "D"].map(unit).join("|")})*`;
  const time = `(?:T(?:${["H", "M", "S"].map(unit).join("|")})*)?`;
  const iso = new RegExp(`^([+-]?)P(?=.*\\d)(${date})(${time})$`).exec(text);
  if (iso) return signed(iso[1], sumOf(iso[2] ?? "", DAY_UNITS) + sumOf(iso[3] ?? "", TIME_UNITS));
  const plain =
    /^([+-]?)(?:(\d+) ?(?:[dD](?:ays?)?),?(?: (?=\d)|$))?(?:(\d{2,}|\d(?=:\d\d:)):(\d\d)(?::(\d\d(?:[.,]\d+)?))?)?$/;
  const [found, sign, days, hours, minutes = "0", seconds = "0"] = plain.exec(text) ?? [];
  if (found === undefined || (days === undefined && hours === undefined)) return undefined;
  if (Number(minutes) > 59 || toNumber(seconds) >= 60) return undefined;
  const ofDay = Number(hours ?? 0) * 3600 + Number(minutes) * 60 + toNumber(seconds);
  return signed(sign, Number(days ?? 0) * 86_400 + ofDay);
}

const DAY_UNITS: Readonly<Record<string, number>> = { Y: 365 * 86_400, M: 30 * 86_400, W: 7 * 86_400, D: 86_400 };
const TIME_UNITS: Readonly<Record<string, number>> = { H: 3600, M: 60, S: 1 };

function sumOf(text: string, units: Readonly<Record<string, number>>): number {
  return [...text.matchAll(/([\d.,]+)([A-Z])/g)]
    .map(([, count = "", unit = ""]) => toNumber(count) * (units[unit] ?? 0))
    .reduce((sum, seconds) => sum + seconds, 0);
}

function toNumber(text: string): number {
  return Number(text.replace(",", "."));
}

function signed(sign: string | undefined, value: number): number {
  return sign === "-" ? -value : value;
}

/** Whether a decoded TOML or JSON value is a table of further values. */
export function isTable(value: unknown): value is Record<string, unknown> {
  return (
    typeof value === "object" &&
    value !== null &&
    (Object.getPrototypeOf(value) === Object.prototype || Object.getPrototypeOf(value) === null)
  );
}
