// Turns what the sources give into typed values and into the variables for a flow run's process.
import { resolve } from "node:path";
import { catalogue, findSetting, redact } from "./catalogue.ts";
import { DEFINITIONS, type SettingName, type SettingValues } from "./definitions.ts";
import { withDerivedValues } from "./derived.ts";
import { jsonText } from "./handed-on-values.ts";
import type { Origin } from "./origin.ts";
import { type Definition, expectation, formatValue, parseValue } from "./parse.ts";
import { integerText } from "./python-values.ts";
import { SettingsError } from "./settings-error.ts";
import type { Given } from "./sources.ts";

/**
 * Parses every given setting. Settings that are only handed on are parsed too, because a flow run would fail on a bad value
 * far from its cause. Throws SettingsError.
 */
export function evaluate(
  given: ReadonlyMap<string, Given>,
  env: Readonly<Record<string, string | undefined>>,
  cwd: string,
): { values: SettingValues; exported: Record<string, string> } {
  const parsed: Record<string, unknown> = {};
  for (const [name, { value, origin }] of given) parsed[name] = parseSetting(name, value, origin);
  const names = Object.keys(DEFINITIONS) as SettingName[];
  const values = Object.fromEntries(names.map((name) => [name, parsed[name] ?? DEFINITIONS[name].default]));
  // Each of these was parsed by the definition that its type is derived from.
  const derived = withDerivedValues(values as unknown as SettingValues, env);
  const effective: Record<string, unknown> = { ...parsed, ...derived };
  const exported: [name: string, text: string][] = [...given.keys()]
    .filter((name) => definitionOf(name).fileOf === undefined)
    .map((name) => [name, exportedText(name, effective[name], { given: given.get(name)?.value, cwd })]);
  return { values: derived, exported: Object.fromEntries([...withdrawnGroups(given), ...exported]) };
}

/**
 * Takes back the variables of whole groups that gave a setting. A flow run's process inherits them, and there they would
 * beat the variables of single settings. `null` means "not given" in every Prefect 3; with `{}`, old releases ignore the
 * single settings too.
 */
function withdrawnGroups(given: ReadonlyMap<string, Given>): [name: string, text: string][] {
  const { groups } = catalogue();
  return [...given.values()].flatMap(({ origin: { kind, key } }) =>
    kind === "environment" && groups.has(key) ? [[key, "null"]] : [],
  );
}

/** Paths that lictor reads relative to its own working directory; a flow run's process has another one. */
const SHARED_PATHS: readonly string[] = ["PREFECT_HOME", "PREFECT_PROFILES_PATH", "PREFECT_API_SSL_CERT_FILE"];

/** The text of the variable for a flow run's process: what lictor itself makes of the setting. */
function exportedText(name: string, value: unknown, { given, cwd }: { given: unknown; cwd: string }): string {
  const definition = definitionOf(name);
  if (definition.kind === "integer" && !Number.isSafeInteger(value)) return integerText(given);
  const text = formatValue(definition, value);
  return SHARED_PATHS.includes(name) && text !== "" ? resolve(cwd, text) : text;
}

/** Returns the typed value of a setting. Throws SettingsError. */
export function parseSetting(name: string, value: unknown, origin: Origin): unknown {
  const definition = definitionOf(name);
  const parsed = parseValue(definition, value);
  if (parsed !== undefined) return parsed;
  const found = JSON.stringify(redact(name, jsonText(value)).slice(0, 80));
  throw new SettingsError(`${name}, ${origin.description}: found ${found}, expected ${expectation(definition)}`, {
    key: name,
    origin,
  });
}

/** Returns the definition of a setting by canonical name. Throws TypeError for any other name. */
export function definitionOf(name: string): Definition {
  const definition = findSetting(name)?.definition;
  if (definition === undefined) throw new TypeError(`${name} comes from no source`);
  return definition;
}
