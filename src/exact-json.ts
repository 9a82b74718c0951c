// JSON whose numbers keep their text where it matters. JSON.parse makes 1 of 1.0 and rounds 12345678901234567890, while Python
// keeps both, and an environment variable made of them shows it. Node 20 has no parser that tells the text.

/** A number that is more than its value: the text it had in JSON. In arithmetic it is its value. */
export class NumberText extends Number {
  readonly #text: string;

  /** `text` is a number as JSON writes it. */
  constructor(text: string) {
    super(text);
    this.#text = text;
  }

  /** The number as JSON writes it. */
  override toString(): string {
    return this.#text;
  }
}

/** Where a value stands: the field `key` of `holder`. */
export interface Place {
  holder: { [key: string]: unknown };
  key: string;
}

/** Finds the places in a parsed JSON value where numbers have to keep their text. Called for two values of the same structure. */
export type ExactPlaces = (value: unknown) => Place[];

// A string, in which nothing is looked for, or a number.
const token = /"[^"\\]*(?:\\.[^"\\]*)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g;
/** From the private use area, so that no string of a user begins with it. */
const mark = "\ue000number:";
const marked = new RegExp(`"${mark}([-+.\\deE]+)"`, "g");

/**
 * Puts a NumberText in the place of each number that JavaScript would write otherwise. `text` is what `value` was parsed from.
 * Costs next to nothing where there is no whole number in `places`, and some times JSON.parse where there is such a number.
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
    if (from !== undefined && Object.hasOwn(holder, key)) holder[key] = unmark(from.holder[from.key]);
  }
}

/** As JSON.parse, with a NumberText for each number that JavaScript would write otherwise. Throws SyntaxError. */
export function parseExactJson(text: string): unknown {
  const root = { value: JSON.parse(text) as unknown };
  // The second value of the same structure comes without its root.
  keepNumberTexts(text, root, (value) => [{ holder: value === root ? root : { value }, key: "value" }]);
  return root.value;
}

/** As JSON.stringify, with the text of each NumberText. */
export function stringifyExactJson(value: unknown): string {
  const text = JSON.stringify(value, (_key, item: unknown) =>
    item instanceof NumberText ? mark + String(item) : item,
  );
  return text.replace(marked, "$1");
}

/** True for a fraction, of which the value is enough, and for a whole number that JavaScript writes the same. */
function isKept(text: string): boolean {
  const value = Number(text);
  const isFraction = Number.isFinite(value) && !Number.isInteger(value);
  return isFraction || String(value) === text;
}

/** Only a whole number can have lost its text: 1.0, 1e3, or one of too many digits. So can one that is too large. */
function hasWholeNumber(value: unknown): boolean {
  if (typeof value === "number") return Number.isInteger(value) || !Number.isFinite(value);
  return typeof value === "object" && value !== null && Object.values(value).some(hasWholeNumber);
}

function unmark(value: unknown): unknown {
  if (typeof value === "string") return value.startsWith(mark) ? new NumberText(value.slice(mark.length)) : value;
  if (Array.isArray(value)) return value.map(unmark);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, unmark(item)]));
}
