// A lock between processes. It is a file, and only one process can create it.
import { closeSync, openSync, rmSync, statSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { wallClockMs } from "../async/clock.ts";
import { SettingsError } from "./settings-error.ts";

/** A process holds the lock for milliseconds. An older lock belongs to a process that was killed. */
const STALE_MS = 10_000;
const PATIENCE_MS = 30_000;
const RETRY_MS = 10;

/** Runs `action` while it holds the lock. Throws SettingsError, and the errors of `action` and of the file system. */
export async function withLockFile(lock: string, action: () => void): Promise<void> {
  const deadline = performance.now() + PATIENCE_MS;
  while (!create(lock)) {
    if (performance.now() > deadline) {
      throw new SettingsError(`Another program keeps ${lock}. Remove it if there is no such program.`);
    }
    // Only one process at a time checks again and removes it. Otherwise one could remove the new lock of another.
    if (isStale(lock)) await withLockFile(`${lock}.stale`, () => isStale(lock) && rmSync(lock, { force: true }));
    else await delay(RETRY_MS);
  }
  try {
    action();
  } finally {
    rmSync(lock, { force: true });
  }
}

function create(lock: string): boolean {
  try {
    closeSync(openSync(lock, "wx", 0o600));
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
    return false;
  }
}

function isStale(lock: string): boolean {
  const found = statSync(lock, { throwIfNoEntry: false });
  return found !== undefined && wallClockMs() - found.mtimeMs > STALE_MS;
}
