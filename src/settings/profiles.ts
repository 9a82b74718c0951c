// Reads profiles.toml and finds the active profile.
import { lstatSync } from "node:fs";
import { isTable } from "./python-values.ts";
import { SettingsError } from "./settings-error.ts";
import { fileError, parseToml, readText } from "./sources.ts";

export type ProfileChoice = "command line" | "environment" | "profiles file" | "default";

/** A profile as written: the settings by their keys. */
export type Profile = Readonly<Record<string, string | number | bigint | boolean>>;

export interface ProfilesFile {
  /** name after `active =`, if any */
  readonly active: string | undefined;
  readonly profiles: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
}

export interface ActiveProfile {
  readonly name: string;
  readonly chosenBy: ProfileChoice;
  /** path of the profiles file, which need not exist */
  readonly file: string;
  /** false when the name exists neither in the file nor among the built-in profiles */
  readonly found: boolean;
  /** whether the settings come from the profiles that Prefect has without any file */
  readonly builtIn: boolean;
  readonly settings: Profile;
}

/** The profiles that exist without a file. A profile of the same name in the user's file replaces one of these. */
export const BUILT_IN_PROFILES: Readonly<Record<string, Profile>> = {
  ephemeral: { PREFECT_SERVER_EPHEMERAL_ENABLED: "true" },
  local: { PREFECT_API_URL: "http://127.0.0.1:4200/api" },
  test: {
    PREFECT_SERVER_EPHEMERAL_ENABLED: "true",
    PREFECT_SERVER_DATABASE_CONNECTION_URL: "sqlite+aiosqlite:///:memory:",
  },
  cloud: {},
};

/** The profile that is active unless the user or the file names another one. */
export const DEFAULT_PROFILE = "ephemeral";

/** Reads a profiles file; undefined when there is none. Throws SettingsError when it cannot be read or is malformed. */
export function findProfiles(file: string): ProfilesFile | undefined {
  if (!exists(file)) return undefined;
  return parseProfiles(file, readText(file));
}

/** Returns true for a broken link too. Its settings are missing, so reading it has to fail. */
function exists(file: string): boolean {
  try {
    return lstatSync(file, { throwIfNoEntry: false }) !== undefined;
  } catch (error) {
    throw fileError("read", file, error, "PREFECT_PROFILES_PATH names another file.");
  }
}

/** Parses a profiles file; errors name `file`. Throws SettingsError. */
export function parseProfiles(file: string, text: string): ProfilesFile {
  const { active, profiles = {} } = parseToml(file, text);
  if (active !== undefined && typeof active !== "string") {
    throw new SettingsError(`${file}: \`active\` must be the name of a profile in quotes`);
  }
  if (!isTable(profiles)) throw new SettingsError(`${file}: \`profiles\` must be a table`);
  for (const [name, profile] of Object.entries(profiles)) {
    if (!isTable(profile)) throw new SettingsError(`${file}: profile "${name}" must be a table, [profiles.${name}]`);
  }
  return { active, profiles: profiles as ProfilesFile["profiles"] };
}

/**
 * Returns the profile named on the command line, else by PREFECT_PROFILE, else by `active` in the file, else the default
 * one. Throws SettingsError when the command line names a profile that does not exist. Elsewhere such a name stands for the
 * default profile with `found: false`.
 */
export function activeProfile(file: string, argument: string | undefined, variable: string | undefined): ActiveProfile {
  const written = findProfiles(file);
  const [name, chosenBy] = choose(argument, variable, written?.active);
  const profile = pickProfile(file, written, name, chosenBy);
  if (profile !== undefined) return profile;
  if (chosenBy === "command line") {
    const names = Object.keys(written?.profiles ?? BUILT_IN_PROFILES).map((known) => `'${known}'`);
    const known = written === undefined ? "does not exist; the built-in profiles are" : "has the profiles";
    throw new SettingsError(`Unknown profile '${name}'. ${file} ${known} ${names.join(", ") || "(none)"}.`);
  }
  return { name, chosenBy, file, found: false, builtIn: true, settings: BUILT_IN_PROFILES[DEFAULT_PROFILE] ?? {} };
}

/** Returns the profile of this name, or undefined when there is none. Throws SettingsError. */
export function namedProfile(file: string, name: string): ActiveProfile | undefined {
  return pickProfile(file, findProfiles(file), name, "command line");
}

/** Returns the profile of this name from the file, else the built-in one. */
function pickProfile(
  file: string,
  written: ProfilesFile | undefined,
  name: string,
  chosenBy: ProfileChoice,
): ActiveProfile | undefined {
  const own = Object.hasOwn(written?.profiles ?? {}, name) ? written?.profiles[name] : undefined;
  const settings = own === undefined ? builtInProfile(name) : checkedProfile(file, name, own);
  return settings && { name, chosenBy, file, found: true, builtIn: own === undefined, settings };
}

function builtInProfile(name: string): Profile | undefined {
  return Object.hasOwn(BUILT_IN_PROFILES, name) ? BUILT_IN_PROFILES[name] : undefined;
}

function choose(
  argument: string | undefined,
  variable: string | undefined,
  active: string | undefined,
): [string, ProfileChoice] {
  if (argument !== undefined) return [argument, "command line"];
  // Prefect ignores empty names in both places.
  if (variable) return [variable, "environment"];
  return active ? [active, "profiles file"] : [DEFAULT_PROFILE, "default"];
}

function checkedProfile(file: string, name: string, settings: Readonly<Record<string, unknown>>): Profile {
  for (const [key, value] of Object.entries(settings)) {
    if (!["string", "number", "bigint", "boolean"].includes(typeof value)) {
      throw new SettingsError(`${key}, from profile "${name}" in ${file}: expected a string, a number, true or false`, {
        key,
      });
    }
  }
  return settings as Profile;
}
