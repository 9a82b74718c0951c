// The files in which an engine looks for settings in its working directory. Source: prefect settings/sources.py.
import { access } from "node:fs/promises";
import { join } from "node:path";

const settingsFiles = [".env", "prefect.toml", "pyproject.toml"];

/** Returns whether an engine that starts in this directory finds settings there. Never throws. */
export async function hasSettingsFiles(directory: string): Promise<boolean> {
  const found = await Promise.all(settingsFiles.map((name) => exists(join(directory, name))));
  return found.includes(true);
}

async function exists(path: string): Promise<boolean> {
  return await access(path).then(
    () => true,
    () => false,
  );
}
