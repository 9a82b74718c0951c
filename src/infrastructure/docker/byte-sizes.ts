// Sizes such as `512m`. Source: docker-py utils/utils.py parse_bytes.
import type { Json } from "../../api/wire.ts";
import { NumberText } from "../../exact-json.ts";
import { JobConfigurationError } from "../../job/typed-fields.ts";

const units: Readonly<Record<string, number>> = { b: 1, k: 1024, m: 1024 ** 2, g: 1024 ** 3, t: 1024 ** 4 };

/** Returns the size in bytes; null if the field is missing. `key` is named if it is none. Throws JobConfigurationError. */
export function toBytes(key: string, value: Json | undefined): number | null {
  if (value === undefined || value === null) return null;
  if (typeof value === "number" || value instanceof NumberText) return Number(value);
  const [, digits = "", unit = "b"] = /^\s*(-?\d+(?:\.\d+)?)\s*(?:([bkmgt])b?)?\s*$/i.exec(String(value)) ?? [];
  const factor = units[unit.toLowerCase()];
  if (digits !== "" && factor !== undefined) return Math.trunc(Number(digits) * factor);
  if (value === "") return 0;
  throw new JobConfigurationError(
    `Job configuration key "${key}" is "${String(value)}", but a size such as 512m is expected, with unit b, k, m or g.`,
  );
}

/** Returns a size for people, such as `1.5 GiB`. */
export function describeBytes(bytes: number): string {
  const [unit, factor] = (
    [
      ["GiB", 1024 ** 3],
      ["MiB", 1024 ** 2],
      ["KiB", 1024],
    ] as const
  ).find(([, size]) => bytes >= size) ?? ["bytes", 1];
  return `${Number((bytes / factor).toFixed(1))} ${unit}`;
}
