// The kinds of value a setting can have: how each is read from text, TOML or JSON, and how Prefect writes it into a
// variable. What is accepted follows pydantic, so that a value good for Prefect is good here.
import { pythonBoolean } from "../python-boolean.ts";
import { tidyUrl } from "./tidy-url.ts";

export type LogLevel = "DEBUG" | "INFO" | "WARNING" | "ERROR" | "CRITICAL";

/** The type a setting of each kind has once it is read. */
export interface KindValues {
  string: string;
  url: string;
  credential: string;
  path: string;
  boolean: boolean;
  integer: number;
  float: number;
  logLevel: LogLevel;
  choice: string;
  statusCodes: readonly number[];
  list: readonly string[];
  dictionary: Readonly<Record<string, string>>;
  // Only handed on to flow runs, whose Prefect judges them; kept as the text that goes into the variable.
  duration: string;
  json: string;
  delimited: string;
}

export type Kind = keyof KindValues;

/** What all rows of the two tables of settings share. */
export interface Definition {
  readonly kind: Kind;
  /** path of the setting in prefect.toml; see `variableOf` */
  readonly toml: string;
  /** typed for the settings of a worker; for the others a text to show */
  readonly default: unknown;
  /** older name, accepted in variables and profiles */
  readonly alias?: string;
  readonly secret?: boolean;
  /** the secret whose file this setting names; of no use to a flow run's process, which gets the secret itself */
  readonly fileOf?: string;
  readonly choices?: readonly string[];
  readonly min?: number;
  /** like `min`, but the number itself is refused */
  readonly above?: number;
  readonly max?: number;
  /** What lictor uses in place of a lower value, which Prefect accepts. Unlike `min`, it refuses nothing. */
  readonly floor?: number;
  /** What lictor uses in place of a higher value, which Prefect accepts. */
  readonly ceiling?: number;
}

interface KindRules<T> {
  /** completes "expected …" */
  readonly expected: string;
  /** the value, or undefined when it is not one of this kind */
  parse(value: unknown, definition: Definition): T | undefined;
  /** as Prefect writes it into a variable */
  format(value: T): string;
}

const LOG_LEVELS: readonly LogLevel[] = ["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"];

const kinds: { readonly [K in Kind]: KindRules<KindValues[K]> } = {
  string: { expected: "a string", parse: parseString, format: String },
  url: { expected: "a string", parse: (value) => parseText(value, tidyUrl), format: String },
  // Copying and secret files leave white space around, which no header can carry.
  credential: { expected: "a string", parse: (value) => parseText(value, (text) => text.trim()), format: String },
  // Python's Path("") is the current directory.
  path: { expected: "a path", parse: (value) => (value === "" ? "." : parseString(value)), format: String },
  boolean: { expected: "true or false", parse: pythonBoolean, format: formatBoolean },
  integer: { expected: "an integer", parse: parseInteger, format: String },
  float: { expected: "a number", parse: parseFloatingPoint, format: formatFloat },
  logLevel: {
    expected: "DEBUG, INFO, WARNING, ERROR or CRITICAL",
    parse: (value) => LOG_LEVELS.find((level) => typeof value === "string" && level === value.toUpperCase()),
    format: String,
  },
  choice: {
    expected: "one of",
    parse: (value, { choices }) => choices?.find((choice) => choice === value),
    format: String,
  },
  statusCodes: {
    expected: "HTTP status codes from 100 to 599, separated by commas",
    parse: parseStatusCodes,
    format: (codes) => codes.join(","),
  },
  list: { expected: "strings separated by commas", parse: parseList, format: (items) => items.join(",") },
  dictionary: {
    expected: "a JSON object of strings",
    parse: parseDictionary,
    format: (value) => JSON.stringify(value),
  },
  duration: {
    expected: "a duration",
    // A bare number of seconds is only a duration outside of variables.
    parse: (value) => (typeof value === "number" ? `PT${value}S` : parseString(value)),
    format: String,
  },
  json: {
    expected: "a value",
    parse: (value) => (typeof value === "string" ? value : JSON.stringify(value)),
    format: String,
  },
  delimited: { expected: "a value or a list", parse: parseDelimited, format: String },
};

/** The typed value, or undefined when `value` is none that this setting takes; see `expectation`. */
export function parseValue<D extends Definition>(definition: D, value: unknown): KindValues[D["kind"]] | undefined {
  const rules: KindRules<unknown> = kinds[definition.kind];
  const parsed = rules.parse(value, definition);
  if (typeof parsed === "number" && !isWithinBounds(parsed, definition)) return undefined;
  return parsed as KindValues[D["kind"]] | undefined;
}

/** The text Prefect would put into the variable of this setting. `value` must come from `parseValue`. */
export function formatValue(definition: Definition, value: unknown): string {
  // The rules of a kind format what the same rules parsed; the compiler cannot follow that through the table.
  return (kinds[definition.kind] as KindRules<unknown>).format(value);
}

/** What a setting takes, as the end of a sentence: "expected …". */
export function expectation({ kind, choices, min, above, max }: Definition): string {
  const bounds = [
    min === undefined ? "" : ` of at least ${min}`,
    above === undefined ? "" : ` above ${above}`,
    max === undefined ? "" : ` up to ${max}`,
  ];
  return `${kinds[kind].expected}${choices === undefined ? "" : ` ${choices.join(", ")}`}${bounds.join("")}`;
}

function isWithinBounds(value: number, { min, above, max }: Definition): boolean {
  return value >= (min ?? -Infinity) && value > (above ?? -Infinity) && value <= (max ?? Infinity);
}

function parseString(value: unknown): string | undefined {
  return typeof value === "string" ? value : undefined;
}

function parseText(value: unknown, tidy: (text: string) => string): string | undefined {
  return typeof value === "string" ? tidy(value) : undefined;
}

function parseInteger(value: unknown): number | undefined {
  const number = typeof value === "string" ? parseNumber(value, /^[+-]?\d+(\.0+)?$/) : value;
  // Adding 0 turns -0 into 0.
  return Number.isSafeInteger(number) ? (number as number) + 0 : undefined;
}

function parseFloatingPoint(value: unknown): number | undefined {
  const number = typeof value === "string" ? parseNumber(value, /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i) : value;
  // Prefect takes inf and nan; no interval, timeout or factor works with them.
  return Number.isFinite(number) ? (number as number) : undefined;
}

function parseNumber(text: string, pattern: RegExp): number | undefined {
  const digits = text.trim().replace(/(?<=\d)_(?=\d)/g, "");
  return pattern.test(digits) ? Number(digits) : undefined;
}

function parseStatusCodes(value: unknown): readonly number[] | undefined {
  const codes = parseItems(value)?.map(parseInteger);
  if (!codes?.every((code) => code !== undefined && code >= 100 && code <= 599)) return undefined;
  return [...new Set(codes as number[])].sort((a, b) => a - b);
}

function parseList(value: unknown): readonly string[] | undefined {
  const items = parseItems(value);
  if (!items?.every((item) => typeof item === "string")) return undefined;
  return [...new Set(items)].filter((item) => item !== "").sort();
}

/** Accepts an array, a JSON array, text separated by commas, or one number. */
function parseItems(value: unknown): readonly unknown[] | undefined {
  if (Array.isArray(value)) return value;
  if (typeof value === "number") return [value];
  if (typeof value !== "string") return undefined;
  if (value.trim() === "") return [];
  const decoded = tryParseJson(value);
  return Array.isArray(decoded) ? decoded : value.split(",").map((item) => item.trim());
}

function parseDictionary(value: unknown): Readonly<Record<string, string>> | undefined {
  const table = typeof value === "string" ? tryParseJson(value) : value;
  if (!isTable(table) || !Object.values(table).every((item) => typeof item === "string")) return undefined;
  return table as Record<string, string>;
}

function parseDelimited(value: unknown): string | undefined {
  if (typeof value === "boolean") return formatBoolean(value);
  if (Array.isArray(value)) return value.join(",");
  return typeof value === "number" ? String(value) : parseString(value);
}

function formatBoolean(value: boolean): string {
  return value ? "True" : "False";
}

/** Python never writes a float without a point or an exponent. */
function formatFloat(value: number): string {
  const text = String(value);
  return /^-?\d+$/.test(text) ? `${text}.0` : text;
}

/** The decoded JSON, or undefined when `text` is not JSON. */
export function tryParseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // Not an error here: the caller says what it expected instead of JSON.
    return undefined;
  }
}

/** Whether a decoded TOML or JSON value is a table of further values. */
export function isTable(value: unknown): value is Record<string, unknown> {
  return (
    typeof value === "object" &&
    value !== null &&
    (Object.getPrototypeOf(value) === Object.prototype || Object.getPrototypeOf(value) === null)
  );
}
