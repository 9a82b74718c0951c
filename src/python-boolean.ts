// What Prefect takes for true and false, in settings, in job variables and in environment variables.

import { NumberText } from "./exact-json.ts";

/** The boolean that pydantic makes of a boolean, number or word, or undefined when it is none. */
export function pythonBoolean(value: unknown): boolean | undefined {
  if (typeof value === "boolean") return value;
  if (value instanceof NumberText) return pythonBoolean(Number(value));
  const text = typeof value === "number" || typeof value === "string" ? String(value) : "";
  if (/^(1|t|true|y|yes|on)$/i.test(text)) return true;
  return /^(0|f|false|n|no|off)$/i.test(text) ? false : undefined;
}
