// A throw-away home and working directory for tests of the settings.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { loadSettings } from "../../src/settings/load.ts";
import type { Settings } from "../../src/settings/settings.ts";

/** What a file holds, by its path below the directory. */
export type Files = Record<string, string>;
export type Env = Record<string, string>;

export interface SettingsDirectory extends Disposable {
  readonly path: string;
  /** PREFECT_HOME of `load`, holding profiles.toml */
  readonly home: string;
  readonly profilesFile: string;
  /** Loads with the directory as the working directory. */
  load(env?: Record<string, string>, profileArgument?: string): Settings;
}

/** Writes `files`, by path below the directory; `home/profiles.toml` is the profiles file. */
export function settingsDirectory(files: Readonly<Record<string, string | Uint8Array>> = {}): SettingsDirectory {
  const path = mkdtempSync(join(tmpdir(), "lictor-settings-"));
  const home = join(path, "home");
  mkdirSync(home);
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(dirname(join(path, name)), { recursive: true });
    writeFileSync(join(path, name), content);
  }
  return {
    path,
    home,
    profilesFile: join(home, "profiles.toml"),
    load: (env = {}, profileArgument) =>
      loadSettings({ env: { HOME: path, PREFECT_HOME: home, ...env }, cwd: path, profileArgument }),
    [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }),
  };
}

/** The settings that these files and this environment give. */
export function load(files: Files, env: Env = {}): Settings {
  using directory = settingsDirectory(files);
  return directory.load(env);
}

/** A profiles file whose active profile has these lines. */
export function profile(...lines: string[]): Files {
  return { "home/profiles.toml": ["active = 'p'", "[profiles.p]", ...lines].join("\n") };
}
