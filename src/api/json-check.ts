// Checks of JSON from outside, composed of small checks. A value that passed needs no further check.
import type { Json } from "./wire.ts";

/** Returns true if the value is as expected. `undefined` stands for a missing field. */
export type Check = (value: Json | undefined) => boolean;

/** Any text. */
export const string: Check = (value) => typeof value === "string";
/** Text that is not empty. */
export const text: Check = (value) => string(value) && value !== "";
/** An id of the server. */
export const uuid: Check = (value) => typeof value === "string" && uuidPattern.test(value);
const uuidPattern = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;
/** A time that Date can parse. */
export const time: Check = (value) => typeof value === "string" && !Number.isNaN(Date.parse(value));
/** A whole number. */
export const integer: Check = (value) => Number.isSafeInteger(value);
/** Any number. */
export const number: Check = (value) => typeof value === "number";
/** A whole number of at least 1. */
export const count: Check = (value) => Number.isSafeInteger(value) && (value as number) > 0;
/** True or false. */
export const boolean: Check = (value) => typeof value === "boolean";

/** One of these values. */
export const oneOf =
  (...values: Json[]): Check =>
  (value) =>
    values.includes(value as Json);

/** A value that passes `check`, or null, or a missing field. */
export const optional =
  (check: Check): Check =>
  (value) =>
    value === undefined || value === null || check(value);

/** A list whose items all pass `check`. */
export const listOf =
  (check: Check): Check =>
  (value) =>
    Array.isArray(value) && value.every(check);

/** An object with at least these fields. Other fields are ignored. */
export const object =
  (fields: Readonly<Record<string, Check>>): Check =>
  (value) =>
    typeof value === "object" &&
    value !== null &&
    !Array.isArray(value) &&
    Object.entries(fields).every(([name, check]) => check(Object.hasOwn(value, name) ? value[name] : undefined));
