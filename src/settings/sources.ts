// Reads one source (variables, .env, a TOML file or a profile) into settings by canonical name.
import { readFileSync, statSync } from "node:fs";
import { parse, TomlError } from "smol-toml";
import { pythonText } from "../python-text.ts";
import { catalogue, variableOf } from "./catalogue.ts";
import type { Origin, OriginKind } from "./origin.ts";
import { isNothing, isNullable } from "./parse.ts";
import { isTable, tryParseJson } from "./python-values.ts";
import { SettingsError } from "./settings-error.ts";

/** One setting as a source gives it, not parsed yet. */
export interface Given {
  readonly value: unknown;
  readonly origin: Origin;
}

export type Source = ReadonlyMap<string, Given>;

/** Where a source is. The descriptions of its origins begin with `description`. */
export interface Place {
  readonly kind: OriginKind;
  readonly file?: string;
  readonly description: string;
}

export interface SourceReading {
  readonly source: Source;
  /** keys that name no setting, as written */
  readonly unknownKeys: readonly string[];
  /** the settings of Prefect's integrations as variables, such as `PREFECT_INTEGRATIONS_KUBERNETES_…`, as texts */
  readonly integrations: ReadonlyMap<string, string>;
}

const integrationsPrefix = "PREFECT_INTEGRATIONS_";

/**
 * Reads variables with names in upper case. A canonical name beats an alias. A group given as JSON
 * (`PREFECT_WORKER='{"query_seconds":3}'`) beats both, and an outer group beats an inner one. Throws SettingsError.
 */
export function readVariables(variables: ReadonlyMap<string, unknown>, place: Place): SourceReading {
  const { byVariable, groups } = catalogue();
  const source = new Map<string, Given>();
  const unknownKeys: string[] = [];
  const integrations = new Map<string, string>();
  const givenGroups: string[] = [];
  for (const [key, value] of variables) {
    if (key.startsWith(integrationsPrefix)) integrations.set(key, textOf(value));
    if (integrations.has(key)) continue;
    const setting = byVariable.get(key);
    if (setting !== undefined && isNothing(setting.definition, value)) continue;
    if (setting === undefined) (groups.has(key) ? givenGroups : unknownKeys).push(key);
    else if (key === setting.name) source.set(key, { value, origin: originOf(key, value, place, "") });
    else if (!variables.has(setting.name)) {
      source.set(setting.name, { value, origin: originOf(key, value, place, ` as ${key}`) });
    }
  }
  // The name of an outer group is shorter than those of its inner groups, so outer groups are read last.
  for (const key of givenGroups.sort((a, b) => b.length - a.length)) {
    const value = variables.get(key);
    const table = typeof value === "string" ? tryParseJson(value) : value;
    if (table === null) continue;
    const groupPlace = { ...place, description: `${place.description} as ${key}` };
    if (!isTable(table)) {
      throw new SettingsError(`${key}, ${place.description}: expected a JSON object of its settings`, { key });
    }
    readTable(table, groupPlace, groups.get(key) ?? "", (name, path, item) => {
      source.set(name, { value: item, origin: { ...originOf(path, item, groupPlace, ""), key } });
    });
  }
  return { source, unknownKeys, integrations };
}

/** Reads the tables of prefect.toml. In pyproject.toml they are below `root`, `tool.prefect`. Throws SettingsError. */
export function readTree(whole: Readonly<Record<string, unknown>>, place: Place, root = ""): SourceReading {
  const source = new Map<string, Given>();
  const { integrations: ofIntegrations, ...tree } = whole;
  const integrations = new Map(isTable(ofIntegrations) ? flattened(ofIntegrations, integrationsPrefix) : []);
  const unknownKeys = readTable(tree, place, "", (name, path, value) => {
    const [, group, field] = /^(?:(.*)\.)?(.*)$/.exec(path) ?? [];
    const table = [root, group].filter(Boolean).join(".");
    const suffix = `${table === "" ? "" : ` [${table}]`} ${field}`;
    source.set(name, { value, origin: originOf(path, value, place, suffix) });
  });
  return { source, unknownKeys, integrations };
}

/** Returns the values of a table and its tables as variables. */
function flattened(table: Readonly<Record<string, unknown>>, prefix: string): [string, string][] {
  return Object.entries(table).flatMap(([field, value]) => {
    const name = prefix + field.toUpperCase();
    return isTable(value) ? flattened(value, `${name}_`) : [[name, textOf(value)]];
  });
}

function textOf(value: unknown): string {
  return Array.isArray(value) ? value.map(pythonText).join(",") : pythonText(value);
}

/** Calls `found` for each setting in `table`, the table at `path` in prefect.toml. Returns the unknown keys. */
function readTable(
  table: Readonly<Record<string, unknown>>,
  place: Place,
  path: string,
  found: (name: string, path: string, value: unknown) => void,
): string[] {
  const { byPath, groups } = catalogue();
  return Object.entries(table).flatMap(([field, value]) => {
    const key = path === "" ? field : `${path}.${field}`;
    const setting = byPath.get(key);
    if (setting !== undefined) {
      // Only JSON has null.
      if (value !== null || !isNullable(setting.definition)) found(setting.name, key, value);
      return [];
    }
    if (groups.get(variableOf(key)) !== key) return [key];
    if (!isTable(value)) throw new SettingsError(`${key}, ${place.description}: expected a table of settings`, { key });
    return readTable(value, place, key, found);
  });
}

function originOf(key: string, value: unknown, place: Place, suffix: string): Origin {
  return { ...place, key, raw: pythonText(value), description: `${place.description}${suffix}` };
}

/** Returns the text of a file, undefined if it is missing or not a regular file. `.env` is often a directory or a pipe. */
export function findText(file: string): string | undefined {
  try {
    if (!statSync(file, { throwIfNoEntry: false })?.isFile()) return undefined;
  } catch (error) {
    throw fileError("read", file, error);
  }
  return readText(file);
}

/** Returns the text of a file. Throws SettingsError when it cannot be read or is not UTF-8. */
export function readText(file: string): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(readFileSync(file));
  } catch (error) {
    throw fileError("read", file, error);
  }
}

/** Returns a one-line error for a file that cannot be read, decoded or written. `advice` is a sentence to add. */
export function fileError(verb: "read" | "write", file: string, error: unknown, advice?: string): SettingsError {
  const code = error instanceof Error && "code" in error ? String(error.code) : "unknown error";
  const reasons: Readonly<Record<string, string>> = {
    EISDIR: "it is a directory",
    EACCES: "no permission",
    EPERM: "no permission",
    EROFS: "the file system is read-only",
    ENOENT: "there is no such file",
    ENOTDIR: "a part of its path is no directory",
    ELOOP: "its links lead in a circle (ELOOP)",
    ENAMETOOLONG: "its name is too long",
    ENOSPC: "the disk is full",
    ERR_ENCODING_INVALID_ENCODED_DATA: "it is not UTF-8 text",
  };
  const reason = reasons[code] ?? code;
  return new SettingsError(`Cannot ${verb} ${file}: ${reason}${advice ? `. ${advice}` : ""}`, { cause: error });
}

/**
 * Parses TOML. Integers above 2 ** 53 are bigints. Throws SettingsError without the message of the parser, which quotes
 * lines of the file that may contain secrets.
 */
export function parseToml(file: string, text: string): Record<string, unknown> {
  try {
    // Without it a single integer above 2 ** 53, in anybody's table, makes the file invalid.
    return parse(text, { integersAsBigInt: "asNeeded" });
  } catch (error) {
    const where = error instanceof TomlError ? ` in line ${error.line}, column ${error.column}` : "";
    throw new SettingsError(`Cannot read ${file}: invalid TOML${where}`);
  }
}
