// Finds a setting by its variable, its older name or its path in prefect.toml, and hides secret values.
import { DEFINITIONS } from "./definitions.ts";
import type { Definition } from "./parse.ts";
import { PASSED_ON_DEFINITIONS } from "./passed-on-definitions.ts";

/** A setting found by any of its names. */
export interface KnownSetting {
  /** canonical name */
  readonly name: string;
  readonly definition: Definition;
}

interface Catalogue {
  /** by variable name: canonical names and aliases */
  readonly byVariable: ReadonlyMap<string, KnownSetting>;
  /** by path in prefect.toml */
  readonly byPath: ReadonlyMap<string, KnownSetting>;
  /** variable names of whole groups (PREFECT_CLIENT_METRICS) with their path (client.metrics) */
  readonly groups: ReadonlyMap<string, string>;
}

let builtCatalogue: Catalogue | undefined;

/** Returns all settings that Prefect knows. It is built at the first call, so that importing this file costs nothing. */
export function catalogue(): Catalogue {
  builtCatalogue ??= buildCatalogue();
  return builtCatalogue;
}

function buildCatalogue(): Catalogue {
  const byVariable = new Map<string, KnownSetting>();
  const byPath = new Map<string, KnownSetting>();
  const groups = new Map<string, string>();
  const passedOn = Object.entries(PASSED_ON_DEFINITIONS).map(([toml, row]) => ({ toml, ...row }));
  for (const definition of [...Object.values<Definition>(DEFINITIONS), ...passedOn]) {
    const name = variableOf(definition.toml);
    const setting = { name, definition };
    byVariable.set(name, setting);
    if (definition.alias !== undefined) byVariable.set(definition.alias, setting);
    byPath.set(definition.toml, setting);
    let path = groupOf(definition.toml);
    while (path !== "" && !groups.has(variableOf(path))) {
      groups.set(variableOf(path), path);
      path = groupOf(path);
    }
  }
  return { byVariable, byPath, groups };
}

function groupOf(path: string): string {
  return path.slice(0, Math.max(0, path.lastIndexOf(".")));
}

/** Returns the variable of the setting or group at this path in prefect.toml. */
export function variableOf(path: string): string {
  return `PREFECT_${path.replaceAll(".", "_").toUpperCase()}`;
}

/** Returns the setting with this canonical name or alias, both in upper case. */
export function findSetting(variable: string): KnownSetting | undefined {
  return catalogue().byVariable.get(variable);
}

/** Returns whether the value must never be shown. Takes canonical names, aliases and groups of settings. */
export function isSecret(variable: string): boolean {
  const path = catalogue().groups.get(variable);
  if (path === undefined) return findSetting(variable)?.definition.secret ?? false;
  return [...catalogue().byPath].some(([key, { definition }]) => key.startsWith(`${path}.`) && definition.secret);
}

/** Returns the text of a value that may be shown: asterisks for a secret, and no `user:password@` in a URL. */
export function redact(variable: string, text: string): string {
  return isSecret(variable) ? "********" : text.replace(/(?<=:\/\/)\S*@/g, "********@");
}
