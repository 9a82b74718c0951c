// Where the user's home directory, Prefect's home directory and the profiles file are.
import { userInfo } from "node:os";
import { join, resolve } from "node:path";
import { SettingsError } from "./settings-error.ts";
import type { Source } from "./sources.ts";

type Environment = Readonly<Record<string, string | undefined>>;

/** Prefect's home directory where no source gives one. */
const DEFAULT_HOME = "~/.prefect";

/**
 * Path of the profiles file: the first PREFECT_PROFILES_PATH that a source other than a profile gives, else
 * profiles.toml in Prefect's home directory. A home directory given only in a file does not count, because Prefect does
 * not look there either. Throws SettingsError when the path depends on the user's home directory and there is none.
 * Source: prefect settings/sources.py _get_profiles_path
 */
export function profilesPath(environment: Source, files: readonly Source[], env: Environment, cwd: string): string {
  const givenHome = environment.get("PREFECT_HOME")?.value;
  const home = typeof givenHome === "string" && givenHome !== "" ? givenHome : DEFAULT_HOME;
  const given = [environment, ...files].map((source) => source.get("PREFECT_PROFILES_PATH")?.value);
  const path = given.find((value): value is string => typeof value === "string" && value !== "");
  const file = path ?? "$PREFECT_HOME/profiles.toml";
  return resolve(cwd, expandUser(expandHome(file, home), env));
}

/**
 * Puts the user's home directory in place of a leading `~`. Throws SettingsError when the path has one and there is no
 * home directory.
 */
export function expandUser(path: string, env: Environment): string {
  if (!beginsAtHome(path)) return path;
  const home = findUserHome(env);
  if (home !== undefined) return join(home, path.slice(2));
  throw new SettingsError(
    `Cannot find ${path}: HOME is not set, and this user${userId()} has no entry in the passwd database. Set HOME, or ` +
      "set PREFECT_HOME and PREFECT_PROFILES_PATH to absolute paths.",
  );
}

/** As `expandUser`, but a path that needs a home directory stays as it is when there is none. */
export function tryExpandUser(path: string, env: Environment): string {
  return beginsAtHome(path) && findUserHome(env) === undefined ? path : expandUser(path, env);
}

function beginsAtHome(path: string): boolean {
  return path === "~" || path.startsWith("~/");
}

/** The user's home directory: HOME, else the user's entry in the passwd database, undefined when there is neither. */
export function findUserHome(env: Environment): string | undefined {
  // As Python does: an empty HOME is the root directory.
  if (env.HOME !== undefined) return env.HOME === "" ? "/" : env.HOME;
  try {
    return userInfo().homedir;
  } catch {
    // Thrown for a user without an entry, such as any user id that a container is started with.
    return undefined;
  }
}

function userId(): string {
  const id = process.getuid?.();
  return id === undefined ? "" : ` (${id})`;
}

/** Puts Prefect's home directory in place of `$PREFECT_HOME`. */
export function expandHome(path: string, home: string): string {
  return path.replaceAll("$PREFECT_HOME", () => home);
}
