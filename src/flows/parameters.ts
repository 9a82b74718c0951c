// The parameters of a flow: their schema for the server, and their values.
import type { ParameterDefinition, ParameterDefinitions } from "./types.ts";

/** Returns JSON Schema, as `lictor deploy` sends it to the server. */
export function toSchema(definitions: ParameterDefinitions): object {
  const entries = Object.entries(definitions);
  return {
    type: "object",
    properties: Object.fromEntries(entries),
    required: entries.filter(([, definition]) => definition.default === undefined).map(([name]) => name),
  };
}

/** Returns the values with the defaults. Throws a TypeError that names a parameter that is missing, unknown or of another type. */
export function completeParameters(
  definitions: ParameterDefinitions,
  given: Readonly<Record<string, unknown>>,
): Record<string, unknown> {
  const unknown = Object.keys(given).find((name) => !Object.hasOwn(definitions, name));
  if (unknown !== undefined) throw new TypeError(`The flow has no parameter '${unknown}'.`);
  const values = Object.entries(definitions).map(([name, definition]) => {
    const value = Object.hasOwn(given, name) ? given[name] : undefined;
    if (value === undefined && definition.default === undefined)
      throw new TypeError(`The parameter '${name}' is missing.`);
    if (value !== undefined) check(name, definition, value);
    return [name, value ?? definition.default];
  });
  return Object.fromEntries(values);
}

/** Throws a TypeError if the definition has no such type, or a default that it does not allow. */
export function checkDefault(name: string, definition: ParameterDefinition): void {
  if (!types.includes(definition.type))
    throw new TypeError(
      `The parameter '${name}' has the unknown type '${definition.type}'. Write ${types.join(", ")}.`,
    );
  if (definition.default !== undefined) check(name, definition, definition.default);
}

const types: readonly string[] = ["string", "integer", "number", "boolean", "array", "object"];

function check(name: string, { type, enum: allowed }: ParameterDefinition, value: unknown): void {
  const isOfType =
    type === "array"
      ? Array.isArray(value)
      : type === "integer"
        ? Number.isInteger(value)
        : type === "object"
          ? typeof value === "object" && value !== null && !Array.isArray(value)
          : typeof value === type;
  if (!isOfType) throw new TypeError(`The parameter '${name}' must be of type ${type}.`);
  if (allowed && !(allowed as readonly unknown[]).includes(value))
    throw new TypeError(`The parameter '${name}' must be one of ${JSON.stringify(allowed)}.`);
}
