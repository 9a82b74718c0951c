// Where Prefect's home directory and profiles file are.
import { homedir } from "node:os";
import { join, resolve } from "node:path";
import type { Source } from "./sources.ts";

type Environment = Readonly<Record<string, string | undefined>>;

/**
 * Path of the profiles file: the first PREFECT_PROFILES_PATH that a source other than a profile gives, else
 * profiles.toml in the home directory. A home directory given only in a file does not count here: Prefect would not
 * look there either. Source: prefect settings/sources.py _get_profiles_path
 */
export function profilesPath(environment: Source, files: readonly Source[], env: Environment, cwd: string): string {
  const givenHome = environment.get("PREFECT_HOME")?.value;
  const home = expandUser(typeof givenHome === "string" && givenHome !== "" ? givenHome : "~/.prefect", env);
  const given = [environment, ...files].map((source) => source.get("PREFECT_PROFILES_PATH")?.value);
  const path = given.find((value): value is string => typeof value === "string" && value !== "");
  return resolve(cwd, path === undefined ? join(home, "profiles.toml") : expandHome(expandUser(path, env), home));
}

/** Puts the user's home directory in place of a leading `~`. */
export function expandUser(path: string, env: Environment): string {
  return path === "~" || path.startsWith("~/") ? join(env.HOME || homedir(), path.slice(2)) : path;
}

/** Puts Prefect's home directory in place of `$PREFECT_HOME`. */
export function expandHome(path: string, home: string): string {
  return path.replaceAll("$PREFECT_HOME", () => home);
}
