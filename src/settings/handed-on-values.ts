// Values that lictor only hands on to flow runs. They are judged here, because a flow run would fail on a bad one far from
// its cause, and kept as the text that goes into the variable. Each function returns undefined for a value that is refused.
import { pythonBoolean } from "../python-boolean.ts";
import { type Bounds, decoded, isTable, isWithinBounds, parseDuration, parseFloatingPoint } from "./python-values.ts";

/** The text of a duration such as `1:30:00`. */
export function durationText(value: unknown): string | undefined {
  // A bare number of seconds is only a duration outside of variables.
  if (typeof value === "number" || typeof value === "bigint") return `PT${value}S`;
  return typeof value === "string" && parseDuration(value) !== undefined ? value : undefined;
}

/** The longest time that Python has, in seconds. */
const MAX_DURATION_SECONDS = 999_999_999 * 86_400;

function toSeconds(value: unknown): number | undefined {
  const seconds = parseFloatingPoint(value) ?? (typeof value === "string" ? parseDuration(value) : undefined);
  return seconds !== undefined && Math.abs(seconds) <= MAX_DURATION_SECONDS ? seconds : undefined;
}

/** The text of a number of seconds, or of a duration. */
export function secondsText(value: unknown, bounds: Bounds): string | undefined {
  const seconds = toSeconds(value);
  return seconds !== undefined && isWithinBounds(seconds, bounds) ? String(value) : undefined;
}

/** The JSON of an object whose values are seconds above 0. */
export function secondsByNameText(value: unknown): string | undefined {
  const table = decoded(value);
  if (!isTable(table)) return undefined;
  return Object.values(table).every((item) => (toSeconds(item) ?? 0) > 0) ? jsonText(value) : undefined;
}

/** The text of seconds, or the JSON of an array of them. */
export function delayText(value: unknown): string | undefined {
  const delay = decoded(value);
  const isDelay = Array.isArray(delay) ? delay.every(isNumber) : isNumber(delay);
  return isDelay ? jsonText(value) : undefined;
}

/** As `delayText`, or seconds separated by commas. */
export function delaysText(value: unknown): string | undefined {
  const delays = decoded(value);
  if (typeof delays !== "string") return delayText(value);
  const isList = delays.split(",").every((part) => part.trim() === "" || isNumber(part));
  return isList ? jsonText(value) : undefined;
}

function isNumber(value: unknown): boolean {
  return typeof value === "boolean" || parseFloatingPoint(value) !== undefined;
}

/** The text of a boolean or of names, or the JSON of an array of names. */
export function namesText(value: unknown): string | undefined {
  const names = decoded(value);
  const isList = Array.isArray(names) && names.every((name) => typeof name === "string");
  return isList || typeof names === "string" || pythonBoolean(names) !== undefined ? jsonText(value) : undefined;
}

/** A text as it is, any other value as JSON. */
export function jsonText(value: unknown): string {
  if (typeof value === "string" || typeof value === "bigint") return String(value);
  return JSON.stringify(value, (_key, item: unknown) => (typeof item === "bigint" ? Number(item) : item));
}
