// Finds the directory for temporary files. Tries the same directories in the same order as Python's tempfile.
// Source: Python 3.11 tempfile.py _candidate_tempdir_list, _get_default_tempdir.
import { randomUUID } from "node:crypto";
import { rm, statfs, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";

const variables = ["TMPDIR", "TEMP", "TMP"] as const;
const systemPaths = ["/tmp", "/var/tmp", "/usr/tmp"];
/** Larger than what a full file system can store in its metadata. */
const probeBytes = 65_536;

/** A directory that cannot be written to, the variable that names it, and the reason. */
export interface RejectedDirectory {
  source: (typeof variables)[number] | "system";
  path: string;
  reason: string;
}

/**
 * Returns the first directory that can be written to, with its free bytes if known, and the directories tried before
 * it.
 */
export async function findTemporaryDirectory(env: Readonly<Record<string, string | undefined>>): Promise<{
  usable: { path: string; freeBytes: number | undefined } | undefined;
  rejected: readonly RejectedDirectory[];
}> {
  const named = variables.flatMap((source) => (env[source] ? [{ source, path: resolve(env[source]) }] : []));
  const candidates = [...named, ...systemPaths.map((path) => ({ source: "system" as const, path }))];
  const rejected: RejectedDirectory[] = [];
  for (const { source, path } of candidates) {
    const reason = await findObstacle(path);
    if (reason === undefined) return { usable: { path, freeBytes: await readFreeBytes(path) }, rejected };
    rejected.push({ source, path, reason });
  }
  return { usable: undefined, rejected };
}

const reasons: Readonly<Record<string, string>> = {
  ENOENT: "does not exist",
  ENOTDIR: "is no directory",
  EACCES: "may not be written to",
  EROFS: "is on a read-only file system",
  ENOSPC: "is full",
  EDQUOT: "is full",
};

/** Writes a file there and removes it. Returns why that fails, or undefined. */
async function findObstacle(path: string): Promise<string | undefined> {
  const file = join(path, `lictor-doctor-${randomUUID()}`);
  try {
    await writeFile(file, Buffer.alloc(probeBytes), { flag: "wx", mode: 0o600 });
    return undefined;
  } catch (error) {
    const { code = "", message } = error as NodeJS.ErrnoException;
    return reasons[code] ?? (code || message);
  } finally {
    await rm(file, { force: true }).catch(() => undefined);
  }
}

async function readFreeBytes(path: string): Promise<number | undefined> {
  const { bavail, bsize } = await statfs(path).catch(() => ({ bavail: undefined, bsize: 0 }));
  return bavail === undefined ? undefined : bavail * bsize;
}
