// Writes profiles.toml. Only one process writes at a time, and readers see the whole old or the whole new file.
import { randomUUID } from "node:crypto";
import { chownSync, lstatSync, mkdirSync, realpathSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import type { ProfilesText } from "./edit-profiles.ts";
import { withLockFile } from "./lock-file.ts";
import { parseProfiles } from "./profiles.ts";
import { fileError, readText } from "./sources.ts";

/**
 * Replaces the text of a profiles file by the result of `edit`. The file need not exist. If `edit` throws, the file stays as
 * it is. Throws SettingsError when the file cannot be read or written.
 */
export async function updateProfiles(file: string, edit: (current: ProfilesText) => string): Promise<void> {
  try {
    const exists = lstatSync(file, { throwIfNoEntry: false }) !== undefined;
    // A link is kept, and the file that it leads to is replaced.
    const target = exists ? realpathSync(file) : file;
    mkdirSync(dirname(target), { recursive: true, mode: 0o700 });
    await withLockFile(`${target}.lock`, () => replace(file, target, edit));
  } catch (error) {
    throw isSystemError(error) ? fileError("write", file, error) : error;
  }
}

function replace(file: string, target: string, edit: (current: ProfilesText) => string): void {
  const existing = statSync(target, { throwIfNoEntry: false });
  const text = existing === undefined ? "" : readText(file);
  const edited = edit({ text, ...parseProfiles(file, text) });
  if (edited === text) return;
  const temporary = `${target}.${randomUUID()}.tmp`;
  try {
    writeFileSync(temporary, edited, { mode: 0o600, flag: "wx", flush: true });
    // Under sudo the file still belongs to the user.
    if (existing !== undefined && existing.uid !== process.getuid?.()) chownSync(temporary, existing.uid, existing.gid);
    renameSync(temporary, target);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw error;
  }
}

function isSystemError(error: unknown): boolean {
  return error instanceof Error && "syscall" in error;
}
