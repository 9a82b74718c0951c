// The values that Prefect accepts as booleans in settings, job variables and environment variables.

import { NumberText } from "./exact-json.ts";

/** Returns the boolean that pydantic reads from a boolean, number or word, or undefined if it reads none. */
export function pythonBoolean(value: unknown): boolean | undefined {
  if (typeof value === "boolean") return value;
  if (value instanceof NumberText) return pythonBoolean(Number(value));
  const text = typeof value === "number" || typeof value === "string" ? String(value) : "";
  if (/^(1|t|true|y|yes|on)$/i.test(text)) return true;
  return /^(0|f|false|n|no|off)$/i.test(text) ? false : undefined;
}
