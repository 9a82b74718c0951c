// Loads the settings: environment over .env over prefect.toml over pyproject.toml over the active profile over defaults.
import { join } from "node:path";
import { customAuthorizationWarnings } from "./connection.ts";
import { apiUrlWarnings, homeWarnings, tlsWarnings } from "./derived.ts";
import { parseDotEnv } from "./dotenv.ts";
import { evaluate, parseSetting } from "./evaluate.ts";
import { withinLimits } from "./limits.ts";
import type { Origin } from "./origin.ts";
import { profilesPath } from "./paths.ts";
import { type ActiveProfile, activeProfile } from "./profiles.ts";
import { isTable } from "./python-values.ts";
import { openFileWarnings, readSecret, withSecretFiles } from "./secret-files.ts";
import type { Settings } from "./settings.ts";
import type { SettingsError } from "./settings-error.ts";
import {
  findText,
  type Given,
  parseToml,
  readTree,
  readVariables,
  type Source,
  type SourceReading,
} from "./sources.ts";

/** What the settings are loaded from. */
export interface SettingsInput {
  /** name given by --profile / -p, if any */
  profileArgument?: string | undefined;
  env: Readonly<Record<string, string | undefined>>;
  cwd: string;
}

// Any text in one of these switches test mode on, and Prefect then uses no profile.
const TEST_MODE_VARIABLES = [
  "PREFECT_TEST_MODE",
  "PREFECT_UNIT_TEST_MODE",
  "PREFECT_TESTING_TEST_MODE",
  "PREFECT_TESTING_UNIT_TEST_MODE",
];

const NOTHING: SourceReading = { source: new Map(), unknownKeys: [], integrations: new Map() };

/** Loads the settings; the result is frozen. Throws SettingsError for a value or a file that cannot be used. */
export function loadSettings(input: SettingsInput): Settings {
  const { env, cwd } = input;
  const { environment, files, dotEnv, prefectToml, pyproject, profile } = readSources(input);
  const isTestMode = TEST_MODE_VARIABLES.some((name) => env[name]);
  const fromProfile = isTestMode ? NOTHING : readProfile(profile);

  const sources = [environment.source, ...files, fromProfile.source].map((source) => withSecretFiles(source, env));
  const given = merge(sources);
  const { values: derived, exported } = evaluate(given, env, cwd);
  const { values, warnings: boundWarnings } = withinLimits(derived);
  const origins = new Map([...given].map(([name, { origin }]) => [name, origin]));
  const warnings = [
    ...profileWarnings(profile),
    ...unknownKeyWarnings(prefectToml, "prefect.toml"),
    ...unknownKeyWarnings(pyproject, "[tool.prefect] in pyproject.toml"),
    ...unknownKeyWarnings(fromProfile, placeOf(profile)),
    ...openFileWarnings(given),
    ...boundWarnings,
    ...apiUrlWarnings(values),
    ...tlsWarnings(values),
    ...customAuthorizationWarnings({ values, origins }),
    ...homeWarnings(env),
  ];
  return Object.freeze({
    values: Object.freeze(values),
    origins,
    hidden: hiddenOrigins(sources),
    profile: Object.freeze({
      name: profile.name,
      chosenBy: profile.chosenBy,
      file: profile.file,
      found: profile.found,
    }),
    warnings: Object.freeze(warnings),
    exported: Object.freeze(exported),
    integrations: integrationsOf([fromProfile, pyproject, prefectToml, dotEnv, environment]),
  });
}

/**
 * Returns the active profile without validating its settings, so that `config set` can repair a broken one. Throws
 * SettingsError.
 */
export function locateProfile(input: SettingsInput): ActiveProfile {
  return readSources(input).profile;
}

/** Returns the settings of a profile by canonical name. */
export function profileSettings(profile: ActiveProfile): Source {
  return readProfile(profile).source;
}

/** Returns one line for each setting of a profile whose value cannot be used. */
export function profileProblems(profile: ActiveProfile): string[] {
  return [...profileSettings(profile)].flatMap(([name, { value, origin }]) => {
    try {
      parseSetting(name, value, origin);
      return [];
    } catch (error) {
      return [(error as SettingsError).message];
    }
  });
}

function readSources({ profileArgument, env, cwd }: SettingsInput) {
  const environment = readEnvironment(env);
  const prefectToml = readTomlFile("prefect.toml", cwd);
  const pyproject = readTomlFile("pyproject.toml", cwd, ["tool", "prefect"]);
  const dotEnv = readDotEnv(cwd, env);
  const files = [dotEnv.source, prefectToml.source, pyproject.source];
  const file = profilesPath(environment.source, files, env, cwd);
  return {
    environment,
    files,
    dotEnv,
    prefectToml,
    pyproject,
    profile: activeProfile(file, profileArgument, env.PREFECT_PROFILE),
  };
}

/** pydantic ignores the case of names. Of two names that differ only in case, the one in upper case counts. */
function upperCased(variables: Iterable<[string, string | undefined]>): Map<string, string> {
  const upper = new Map<string, string>();
  for (const [name, value] of variables) {
    const key = name.toUpperCase();
    if (value !== undefined && key.startsWith("PREFECT_") && (name === key || !upper.has(key))) upper.set(key, value);
  }
  return upper;
}

function readEnvironment(env: SettingsInput["env"]): SourceReading {
  const place = { kind: "environment", description: "from the environment" } as const;
  return readVariables(upperCased(Object.entries(env)), place);
}

function readDotEnv(cwd: string, env: SettingsInput["env"]): SourceReading {
  const file = join(cwd, ".env");
  const text = findText(file);
  if (text === undefined) return NOTHING;
  const place = { kind: ".env", file, description: "from .env" } as const;
  return readVariables(upperCased(parseDotEnv(text, env)), place);
}

function readTomlFile(
  name: "prefect.toml" | "pyproject.toml",
  cwd: string,
  root: readonly string[] = [],
): SourceReading {
  const file = join(cwd, name);
  const text = findText(file);
  if (text === undefined) return NOTHING;
  let tree: unknown = parseToml(file, text);
  for (const key of root) tree = isTable(tree) ? tree[key] : undefined;
  return isTable(tree) ? readTree(tree, { kind: name, file, description: `from ${name}` }, root.join(".")) : NOTHING;
}

function readProfile(profile: ActiveProfile): SourceReading {
  const place = { kind: "profile", description: `from ${placeOf(profile)}` } as const;
  const fileOfPlace = profile.builtIn ? {} : { file: profile.file };
  return readVariables(new Map(Object.entries(profile.settings)), { ...place, ...fileOfPlace });
}

function placeOf({ name, file, found, builtIn }: ActiveProfile): string {
  if (!found) return "the default profile";
  return builtIn ? `built-in profile "${name}"` : `profile "${name}" in ${file}`;
}

/** Returns each setting as the first source that gives it has it. */
function merge(sources: readonly Source[]): ReadonlyMap<string, Given> {
  const given = new Map(sources.toReversed().flatMap((source) => [...source]));
  return new Map([...given].map(([name, first]) => [name, readSecret(name, first)]));
}

/** Returns the settings of integrations as the last reading that gives each one has it. */
function integrationsOf(readings: readonly SourceReading[]): Settings["integrations"] {
  return Object.freeze(Object.fromEntries(readings.flatMap(({ integrations }) => [...integrations])));
}

function hiddenOrigins(sources: readonly Source[]): ReadonlyMap<string, readonly Origin[]> {
  const origins = new Map<string, Origin[]>();
  for (const [name, { origin }] of sources.flatMap((source) => [...source])) {
    origins.set(name, [...(origins.get(name) ?? []), origin]);
  }
  return new Map([...origins].map(([name, [_shown, ...hidden]]) => [name, hidden]));
}

/** Returns a warning for a profile that does not exist. */
export function profileWarnings({ name, chosenBy, file, found }: Settings["profile"]): string[] {
  if (found) return [];
  const by = chosenBy === "environment" ? "PREFECT_PROFILE" : "`active`";
  return [`Profile '${name}', named by ${by}, is not in ${file}; going on with the default settings.`];
}

function unknownKeyWarnings({ unknownKeys }: SourceReading, place: string): string[] {
  return unknownKeys.map((key) => `Unknown setting ${key} in ${place} is ignored.`);
}
