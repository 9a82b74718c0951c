// Checks of JSON that comes from outside, put together from small ones: what passes can be used without asking again.
import type { Json } from "./wire.ts";

/** Whether a value is what is expected; undefined is a field that is not there. */
export type Check = (value: Json | undefined) => boolean;

/** Any text. */
export const string: Check = (value) => typeof value === "string";
/** Text that is not empty. */
export const text: Check = (value) => string(value) && value !== "";
/** An id as the server makes them. */
export const uuid: Check = (value) => typeof value === "string" && uuidPattern.test(value);
const uuidPattern = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;
/** A time that Date understands. */
export const time: Check = (value) => typeof value === "string" && !Number.isNaN(Date.parse(value));
/** A whole number. */
export const integer: Check = (value) => Number.isSafeInteger(value);
/** A whole number from 1 on. */
export const count: Check = (value) => Number.isSafeInteger(value) && (value as number) > 0;
/** True or false. */
export const boolean: Check = (value) => typeof value === "boolean";

/** One of these values. */
export const oneOf =
  (...values: Json[]): Check =>
  (value) =>
    values.includes(value as Json);

/** Missing or null is good too. */
export const optional =
  (check: Check): Check =>
  (value) =>
    value === undefined || value === null || check(value);

/** A list of nothing but these. */
export const listOf =
  (check: Check): Check =>
  (value) =>
    Array.isArray(value) && value.every(check);

/** An object with at least these fields; further ones are let be. */
export const object =
  (fields: Readonly<Record<string, Check>>): Check =>
  (value) =>
    typeof value === "object" &&
    value !== null &&
    !Array.isArray(value) &&
    Object.entries(fields).every(([name, check]) => check(Object.hasOwn(value, name) ? value[name] : undefined));
