// JSON whose numbers keep their text where it matters. JSON.parse turns 1.0 into 1 and rounds 12345678901234567890.
// Python keeps both, and job variables may become environment variables. Node.js 20 has no parser that keeps the text.

const brand = Symbol.for("lictor.NumberText");

/** A number with its text in JSON. In arithmetic it is an ordinary number. */
export class NumberText extends Number {
  readonly [brand] = true;
  readonly #text: string;

  /** `text` is a number in JSON. */
  constructor(text: string) {
    super(text);
    this.#text = text;
  }

  /** Each part of the bundle has a class of its own, so an instance is known by a brand. */
  static override [Symbol.hasInstance](value: unknown): boolean {
    return typeof value === "object" && value !== null && brand in value;
  }

  /** Returns the number as it was in JSON. */
  override toString(): string {
    return this.#text;
  }
}

/** The place of a value: the field `key` of `holder`. */
export interface Place {
  holder: { [key: string]: unknown };
  key: string;
}

/**
 * Returns the places in a parsed JSON value where numbers must keep their text. Called for two values of the same
 * structure.
 */
export type ExactPlaces = (value: unknown) => Place[];

/**
 * Values that are nested more deeply keep no texts. Somebody's job variables of 100,000 levels must not exhaust the stack,
 * because the same response holds the flow runs of others.
 */
const deepestLevel = 1_000;

// A string, which is skipped, or a number.
const token = /"[^"\\]*(?:\\.[^"\\]*)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g;
/** Begins with a private use character, so that no user's string begins with it. */
const mark = "\ue000number:";
const marked = new RegExp(`"${mark}([-+.\\deE]+)"`, "g");

/**
 * Replaces each number in `places` that JavaScript would write differently by a NumberText. `value` was parsed from
 * `text`. Takes almost no time if there is no whole number in `places`. Otherwise takes several times as long as
 * JSON.parse.
 */
export function keepNumberTexts(text: string, value: unknown, places: ExactPlaces): void {
  const found = places(value);
  if (!found.some(({ holder, key }) => hasWholeNumber(holder[key]))) return;
  let isMarked = false;
  const markedText = text.replace(token, (part) => {
    if (part.startsWith('"') || isKept(part)) return part;
    isMarked = true;
    return `"${mark}${part}"`;
  });
  if (!isMarked) return;
  const exact = places(JSON.parse(markedText));
  for (const [index, { holder, key }] of found.entries()) {
    const from = exact[index];
    const item = from?.holder[from.key];
    if (from !== undefined && Object.hasOwn(holder, key) && !isTooDeep(item)) holder[key] = unmark(item);
  }
}

/** Like JSON.parse, with a NumberText for each number that JavaScript would write differently. Throws SyntaxError. */
export function parseExactJson(text: string): unknown {
  const root = { value: JSON.parse(text) as unknown };
  // The second call gets the parsed value without the root object.
  keepNumberTexts(text, root, (value) => [{ holder: value === root ? root : { value }, key: "value" }]);
  return root.value;
}

/** Like JSON.stringify, with the text of each NumberText. */
export function stringifyExactJson(value: unknown): string {
  const text = JSON.stringify(value, (_key, item: unknown) =>
    item instanceof NumberText ? mark + String(item) : item,
  );
  return text.replace(marked, "$1");
}

/** Returns true for a fraction, because its value is enough, and for a whole number that JavaScript writes the same. */
function isKept(text: string): boolean {
  const value = Number(text);
  const isFraction = Number.isFinite(value) && !Number.isInteger(value);
  return isFraction || String(value) === text;
}

/**
 * Returns true if a number may have lost its text. Only whole numbers can, for example 1.0 or 1e3, and numbers that are
 * too large.
 */
function hasWholeNumber(value: unknown, level = 0): boolean {
  if (typeof value === "number") return Number.isInteger(value) || !Number.isFinite(value);
  if (typeof value !== "object" || value === null || level === deepestLevel) return false;
  return Object.values(value).some((item) => hasWholeNumber(item, level + 1));
}

/** Returns whether the value has more levels than the functions of this file can follow. */
function isTooDeep(value: unknown, level = 0): boolean {
  if (typeof value !== "object" || value === null) return false;
  return level === deepestLevel || Object.values(value).some((item) => isTooDeep(item, level + 1));
}

function unmark(value: unknown): unknown {
  if (typeof value === "string") return value.startsWith(mark) ? new NumberText(value.slice(mark.length)) : value;
  if (Array.isArray(value)) return value.map(unmark);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, unmark(item)]));
}
