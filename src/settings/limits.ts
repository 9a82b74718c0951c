// Replaces values that Prefect accepts and that no loop or timer can work with.
import { DEFINITIONS, type SettingValues } from "./definitions.ts";
import type { Definition } from "./parse.ts";

/**
 * Returns `values` with each number raised to its definition's floor or lowered to its ceiling, and one warning for each that was
 * changed. Flow runs still get the number as it was given, because an engine may have a use for it.
 */
export function withinLimits(values: SettingValues): { values: SettingValues; warnings: string[] } {
  const changed: Record<string, number> = {};
  const warnings: string[] = [];
  for (const [name, { default: fallback, floor = -Infinity, ceiling = Infinity }] of Object.entries<Definition>(
    DEFINITIONS,
  )) {
    const value: unknown = values[name as keyof SettingValues];
    if (typeof value !== "number" || (value >= floor && value <= ceiling)) continue;
    if (Number.isNaN(value)) {
      changed[name] = fallback as number;
      warnings.push(`${name} is not a number (nan); lictor uses the default, ${fallback}.`);
      continue;
    }
    changed[name] = value < floor ? floor : ceiling;
    const bound = value < floor ? "lowest" : "highest";
    warnings.push(`${name} is ${value}; lictor uses ${changed[name]}, the ${bound} value that it works with.`);
  }
  return { values: { ...values, ...changed }, warnings };
}
