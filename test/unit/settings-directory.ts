// A throw-away home and working directory for tests of the settings.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { loadSettings, type Settings } from "../../src/settings/load.ts";

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
