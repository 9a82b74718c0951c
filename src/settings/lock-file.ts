// A lock between processes: a file that only one of them can create.
import { closeSync, openSync, rmSync, statSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { wallClockMs } from "../async/clock.ts";
import { SettingsError } from "./settings-error.ts";

/** A holder needs milliseconds; what is older was left behind by one that was killed. */
const STALE_MS = 10_000;
const PATIENCE_MS = 30_000;
const RETRY_MS = 10;

/** Runs `action` while holding the lock. Throws what it throws, what creating the file throws, and SettingsError. */
export async function withLockFile(lock: string, action: () => void): Promise<void> {
  const deadline = performance.now() + PATIENCE_MS;
  while (!create(lock)) {
    if (performance.now() > deadline) {
      throw new SettingsError(`Another program keeps ${lock}. Remove it if there is no such program.`);
    }
    // Of those that find it stale one at a time looks again: none can remove the lock that another has just taken.
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
