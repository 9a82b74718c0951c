// The kinds of value that a setting can have: how each is read from text, TOML or JSON, and how Prefect writes it into a
// variable. The kinds accept what pydantic accepts.
import { pythonBoolean } from "../python-boolean.ts";
import {
  delaysText,
  delayText,
  durationText,
  jsonText,
  namesText,
  secondsByNameText,
  secondsText,
} from "./handed-on-values.ts";
import {
  type Bounds,
  isTable,
  isWithinBounds,
  parseFloatingPoint,
  parseInteger,
  parseItems,
  tryParseJson,
} from "./python-values.ts";
import { tidyUrl } from "./tidy-url.ts";

export type LogLevel = "DEBUG" | "INFO" | "WARNING" | "ERROR" | "CRITICAL";

/** The type of a parsed value of each kind. */
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
  // Only handed on to flow runs, and kept as the text that goes into the variable.
  duration: string;
  /** a duration, or a number of seconds */
  seconds: string;
  /** an object of `seconds` */
  secondsByName: string;
  /** seconds, or a list of them */
  delay: string;
  /** as `delay`, and a list may also be separated by commas */
  delays: string;
  /** true, false, or names separated by commas */
  names: string;
  json: string;
}

export type Kind = keyof KindValues;

/** A row of the two tables of settings. */
export interface Definition extends Bounds {
  readonly kind: Kind;
  /** path of the setting in prefect.toml; see `variableOf` */
  readonly toml: string;
  /** a typed value for the settings of a worker, and a text to show for the others */
  readonly default: unknown;
  /** older name, accepted in variables and profiles */
  readonly alias?: string;
  readonly secret?: boolean;
  /** the secret whose file this setting names; not handed on, because a flow run's process gets the secret itself */
  readonly fileOf?: string;
  readonly choices?: readonly string[];
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
  list: { expected: "strings separated by commas", parse: parseList, format: formatList },
  dictionary: {
    expected: "a JSON object of strings",
    parse: parseDictionary,
    format: (value) => JSON.stringify(value),
  },
  duration: { expected: "a duration like 1:30:00 or PT90S", parse: durationText, format: String },
  seconds: { expected: "seconds, or a duration like 1:30:00 or PT90S", parse: secondsText, format: String },
  secondsByName: { expected: "a JSON object of seconds above 0", parse: secondsByNameText, format: String },
  delay: { expected: "seconds, or a JSON array of seconds", parse: delayText, format: String },
  delays: { expected: "seconds, or several separated by commas", parse: delaysText, format: String },
  names: { expected: "true, false, or names separated by commas", parse: namesText, format: String },
  json: { expected: "a value", parse: jsonText, format: String },
};

/** Returns the typed value, or undefined when the setting does not take `value`; see `expectation`. */
export function parseValue<D extends Definition>(definition: D, value: unknown): KindValues[D["kind"]] | undefined {
  const rules: KindRules<unknown> = kinds[definition.kind];
  const parsed = rules.parse(value, definition);
  if (typeof parsed === "number" && !isWithinBounds(parsed, definition)) return undefined;
  return parsed as KindValues[D["kind"]] | undefined;
}

/** Returns the text that Prefect would put into the variable. `value` must come from `parseValue`. */
export function formatValue(definition: Definition, value: unknown): string {
  // The rules of a kind format what the same rules have parsed, which the compiler cannot know.
  return (kinds[definition.kind] as KindRules<unknown>).format(value);
}

/** Kinds that Prefect decodes as JSON where it can. The JSON `null` then means that the setting is not given. */
const JSON_KINDS: readonly Kind[] = ["statusCodes", "list", "dictionary", "secondsByName", "delay", "delays", "names"];

/** Whether the text of a variable says that the setting is not given. */
export function isNothing({ kind }: Definition, value: unknown): boolean {
  return JSON_KINDS.includes(kind) && typeof value === "string" && tryParseJson(value) === null;
}

/** Whether a setting may be None in Prefect, and so null in the JSON of a group. */
export function isNullable({ default: value }: Definition): boolean {
  return value === null || value === "None";
}

/** Returns what a setting takes, as the end of the sentence "expected …". */
export function expectation({ kind, choices, min, above, max }: Definition): string {
  const bounds = [
    min === undefined ? "" : ` of at least ${min}`,
    above === undefined ? "" : ` above ${above}`,
    max === undefined ? "" : ` up to ${max}`,
  ];
  return `${kinds[kind].expected}${choices === undefined ? "" : ` ${choices.join(", ")}`}${bounds.join("")}`;
}

function parseString(value: unknown): string | undefined {
  return typeof value === "string" ? value : undefined;
}

function parseText(value: unknown, tidy: (text: string) => string): string | undefined {
  return typeof value === "string" ? tidy(value) : undefined;
}

function parseStatusCodes(value: unknown): readonly number[] | undefined {
  const codes = parseItems(value).map(parseInteger);
  if (!codes.every((code) => code !== undefined && code >= 100 && code <= 599)) return undefined;
  return [...new Set(codes as number[])].sort((a, b) => a - b);
}

function parseList(value: unknown): readonly string[] | undefined {
  const items = parseItems(value);
  return items.every((item) => typeof item === "string") ? [...new Set(items)].sort() : undefined;
}

function parseDictionary(value: unknown): Readonly<Record<string, string>> | undefined {
  const table = typeof value === "string" ? tryParseJson(value) : value;
  if (!isTable(table) || !Object.values(table).every((item) => typeof item === "string")) return undefined;
  // Copying leaves white space around values, which a header cannot end with.
  return Object.fromEntries(Object.entries(table as Record<string, string>).map(([key, item]) => [key, item.trim()]));
}

/** Separated by commas as Prefect does it, unless that would be read as something else, such as a number. */
function formatList(items: readonly string[]): string {
  const text = items.join(",");
  const again = parseItems(text);
  const isSame = again.length === items.length && again.every((item, index) => item === items[index]);
  return isSame ? text : JSON.stringify(items);
}

function formatBoolean(value: boolean): string {
  return value ? "True" : "False";
}

/** Python never writes a float without a point or an exponent. */
function formatFloat(value: number): string {
  if (!Number.isFinite(value)) return Number.isNaN(value) ? "nan" : value > 0 ? "inf" : "-inf";
  const text = String(value);
  return /^-?\d+$/.test(text) ? `${text}.0` : text;
}
