// The settings as `config view` shows them: each value in Prefect's words, and its source.
import { catalogue, redact } from "./catalogue.ts";
import type { SettingValues } from "./definitions.ts";
import type { Origin, OriginKind } from "./origin.ts";
import { type Definition, formatValue } from "./parse.ts";
import { expandHome } from "./paths.ts";
import type { Settings } from "./settings.ts";

/** One setting, as text. */
export interface SettingRow {
  readonly name: string;
  readonly value: string;
  readonly source: string;
}

/** Prefect's names for the sources. */
const SOURCES: Readonly<Record<OriginKind, string>> = {
  environment: "env",
  ".env": ".env file",
  "prefect.toml": "prefect.toml",
  "pyproject.toml": "pyproject.toml",
  profile: "profile",
  "secret file": "secret file",
  default: "defaults",
};

/** Returns a row for each setting that a source gives, sorted by canonical name. `defaults` adds the other settings. */
export function settingRows(
  settings: Settings,
  { defaults, secrets }: { defaults: boolean; secrets: boolean },
): SettingRow[] {
  const given = [...settings.origins].map(([name, { kind, raw }]) => ({ name, value: raw, source: SOURCES[kind] }));
  const rows = defaults ? [...given, ...defaultRows(settings)] : given;
  return rows
    .map((row) => (secrets ? row : { ...row, value: redact(row.name, row.value) }))
    .sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** Returns a row for each setting of a profile, by canonical name where there is one. */
export function profileRows(source: ReadonlyMap<string, { readonly origin: Origin }>, secrets: boolean): SettingRow[] {
  return [...source].map(([name, { origin }]) => ({
    name,
    value: secrets ? origin.raw : redact(name, origin.raw),
    source: SOURCES.profile,
  }));
}

function defaultRows({ values, origins }: Settings): SettingRow[] {
  return [...catalogue().byPath.values()]
    .filter(({ name }) => !origins.has(name))
    .flatMap(({ name, definition }) => {
      const value = defaultText(name, definition, values);
      return value === undefined ? [] : [{ name, value, source: SOURCES.default }];
    });
}

/** Returns the default as Prefect shows it, or undefined for a setting that Prefect leaves out. */
function defaultText(name: string, definition: Definition, values: SettingValues): string | undefined {
  // Prefect does not have the settings that name secret files.
  if (definition.kind === "dictionary" || definition.fileOf !== undefined) return undefined;
  // The UI of a server uses the API URL of the client unless set otherwise.
  if (name === "PREFECT_SERVER_UI_API_URL" && values.PREFECT_API_URL) return values.PREFECT_API_URL;
  if (!Object.hasOwn(values, name)) {
    // The default of a setting that is only handed on is a text.
    return definition.default === null ? undefined : expandHome(String(definition.default), values.PREFECT_HOME);
  }
  const value = values[name as keyof SettingValues];
  if (value === null) return "None";
  if (Array.isArray(value)) return definition.kind === "statusCodes" ? "set()" : "[]";
  return formatValue(definition, value);
}
