// Values as Python prints them, for texts that must be the same as Prefect's.

import { NumberText } from "./exact-json.ts";

/**
 * Returns the text that Python's `str` makes of a value: `True`, `None`, `{'x': 1}`. A whole number becomes an integer,
 * because JSON.parse reads `1.0` and `1` as the same number. A NumberText becomes what Python reads from its text.
 */
export function pythonText(value: unknown): string {
  return typeof value === "string" ? value : pythonRepr(value);
}

/** Returns the text that Python's `repr` makes of a value: like `str`, with quotes around a string. */
export function pythonRepr(value: unknown): string {
  if (value === null) return "None";
  if (typeof value === "boolean") return value ? "True" : "False";
  if (typeof value === "number") return pythonNumber(value);
  if (typeof value === "bigint") return String(value);
  if (value instanceof NumberText) return pythonNumberOfText(String(value));
  if (typeof value === "string") return pythonQuoted(value);
  if (Array.isArray(value)) return `[${value.map(pythonRepr).join(", ")}]`;
  const entries = Object.entries(value as object).map(([key, item]) => `${pythonQuoted(key)}: ${pythonRepr(item)}`);
  return `{${entries.join(", ")}}`;
}

/**
 * Python writes numbers below 0.0001 with an exponent of at least two digits. JavaScript does so only below 0.000001.
 */
function pythonNumber(value: number): string {
  if (value === 0 || Math.abs(value) >= 1e-4) return String(value);
  return value.toExponential().replace(/e-(\d)$/, "e-0$1");
}

/** Python reads a number with a decimal point or an exponent as a float, and any other number as an integer. */
function pythonNumberOfText(text: string): string {
  if (!/[.eE]/.test(text)) return text === "-0" ? "0" : text;
  const value = Number(text);
  if (!Number.isFinite(value)) return value > 0 ? "inf" : "-inf";
  if (!Number.isInteger(value)) return pythonNumber(value);
  if (Object.is(value, -0)) return "-0.0";
  return Math.abs(value) < 1e16 ? `${value}.0` : value.toExponential();
}

/** Uses single quotes, unless only single quotes occur in the text. Escapes characters that cannot be printed. */
function pythonQuoted(text: string): string {
  const quote = text.includes("'") && !text.includes('"') ? '"' : "'";
  const escaped = text.replaceAll("\\", "\\\\").replaceAll(quote, `\\${quote}`);
  return `${quote}${escaped.replace(/(?! )[\p{C}\p{Z}]/gu, pythonEscape)}${quote}`;
}

function pythonEscape(char: string): string {
  const named = { "\n": "\\n", "\r": "\\r", "\t": "\\t" }[char];
  if (named !== undefined) return named;
  const code = char.codePointAt(0) ?? 0;
  const [letter, digits] = code < 0x100 ? ["x", 2] : code < 0x10000 ? ["u", 4] : ["U", 8];
  return `\\${letter}${code.toString(16).padStart(digits, "0")}`;
}
