// Parts of the schemas in base job templates.
import type { Json, JsonObject } from "../api/wire.ts";

/** Returns the schema of a variable with its title and description. */
export function field(title: string, type: JsonObject, description: string): JsonObject {
  return { title, ...type, description };
}

/** Returns the schema of an optional value. */
export function orNull(type: Json): JsonObject {
  return { anyOf: [type, { type: "null" }], default: null };
}

/** The schema of a text. */
export const text: JsonObject = { type: "string" };
/** The schema of an optional text. */
export const optionalText = orNull(text);
