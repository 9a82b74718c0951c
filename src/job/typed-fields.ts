// Reads the resolved fields of a base job template as the types that a pool type expects.
import type { Json, JsonObject } from "../api/wire.ts";
import { NumberText } from "../exact-json.ts";
import { pythonBoolean } from "../python-boolean.ts";
import { pythonText } from "../python-text.ts";
import { isJsonObject } from "./template.ts";

/** A base job template or job variable with a wrong type. The message names the key. */
export class JobConfigurationError extends Error {
  override readonly name = "JobConfigurationError";
}

/** Returns an object, empty if the field is missing. Throws JobConfigurationError. */
export function objectField(key: string, value: Json | undefined): JsonObject {
  if (value === undefined) return {};
  if (!isJsonObject(value)) throw mismatch(key, value, "an object");
  return value;
}

/** Returns variables with their values as Python prints them. Null removes a variable. Throws JobConfigurationError. */
export function environmentField(value: Json | undefined): Record<string, string | null> {
  const entries = Object.entries(objectField("env", value));
  return Object.fromEntries(entries.map(([key, item]) => [key, item === null ? null : pythonText(item)]));
}

/** Returns labels, all of them strings. Throws JobConfigurationError. */
export function labelsField(value: Json | undefined): Record<string, string> {
  return textsField("labels", value);
}

/** Returns an object whose values are all strings, empty if the field is missing. Throws JobConfigurationError. */
export function textsField(key: string, value: Json | undefined): Record<string, string> {
  const texts = Object.entries(objectField(key, value)).map(([name, item]) => {
    if (typeof item !== "string") throw mismatch(`${key}.${name}`, item, "a string");
    return [name, item] as const;
  });
  return Object.fromEntries(texts);
}

/** Returns a string, or null if the field is missing. Throws JobConfigurationError. */
export function textField(key: string, value: Json | undefined): string | null {
  if (value === undefined || value === null || typeof value === "string") return value ?? null;
  throw mismatch(key, value, "a string or null");
}

/** Returns a list of strings, empty if the field is missing. Throws JobConfigurationError. */
export function textListField(key: string, value: Json | undefined): string[] {
  if (value === undefined || value === null) return [];
  if (!Array.isArray(value)) throw mismatch(key, value, "a list");
  return value.map((item, index) => {
    if (typeof item !== "string") throw mismatch(`${key}[${index}]`, item, "a string");
    return item;
  });
}

/**
 * Returns a directory, or null for a temporary one. An empty path is the worker's own directory, as in Python's pathlib.
 * Throws JobConfigurationError.
 */
export function workingDirectoryField(value: Json | undefined): string | null {
  const path = textField("working_dir", value);
  return path === "" ? "." : path;
}

/** Returns a boolean, `whenMissing` if the field is missing. Accepts pydantic's spellings. Throws JobConfigurationError. */
export function booleanField(key: string, value: Json | undefined, whenMissing: boolean): boolean {
  if (value === undefined) return whenMissing;
  const boolean = pythonBoolean(value);
  if (boolean !== undefined) return boolean;
  throw mismatch(key, value, "true or false", typeof value === "string" ? JSON.stringify(value) : undefined);
}

/** Three years in seconds. A later time does not fit into a date of the server in the end, and then it stores no state at all. */
export const mostSeconds = 100_000_000;

/** Returns a number from 0 to `most`, or null if the field is missing. Throws JobConfigurationError. */
export function countField(key: string, value: Json | undefined, most = mostSeconds): number | null {
  if (value === undefined || value === null || value === "") return null;
  const isNumber = typeof value === "number" || value instanceof NumberText || typeof value === "string";
  const number = isNumber ? Number(value) : Number.NaN;
  if (number >= 0 && number <= most) return number;
  const found = typeof value === "string" ? JSON.stringify(value) : undefined;
  throw mismatch(key, value, `a number from 0 to ${most}`, found);
}

/** Returns a whole number, or null if the field is missing. Accepts digits in a text. Throws JobConfigurationError. */
export function integerField(key: string, value: Json | undefined): number | null {
  if (value === undefined || value === null) return null;
  const isNumber = typeof value === "number" || value instanceof NumberText;
  const number = isNumber || (typeof value === "string" && value.trim() !== "") ? Number(value) : Number.NaN;
  if (Number.isInteger(number)) return number;
  throw mismatch(key, value, "a whole number", isNumber ? String(value) : undefined);
}

function mismatch(key: string, value: Json, expected: string, found = describeKind(value)): JobConfigurationError {
  return new JobConfigurationError(`Job configuration key "${key}" is ${found}, but ${expected} is expected.`);
}

/** Returns the kind of a value instead of the value, because a text or an object may contain a secret. */
export function describeKind(value: Json | undefined): string {
  if (typeof value === "string") return "a string";
  if (Array.isArray(value)) return "a list";
  return isJsonObject(value) ? "an object" : String(value);
}

/** Returns the truth of a value as in Python: empty texts, lists and objects are false. */
export function isTruthy(value: Json | undefined): boolean {
  if (value instanceof NumberText) return Number(value) !== 0;
  return typeof value === "object" && value !== null ? Object.keys(value).length > 0 : Boolean(value);
}
