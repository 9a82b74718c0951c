// Finds the directory for temporary files by Python's rules, so that it is the one that flow runs use.
// Source: CPython Lib/tempfile.py _candidate_tempdir_list, _get_default_tempdir.
import { randomUUID } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { directoryProblem, ShortageError } from "./system-errors.ts";

/**
 * A directory in which a file could be written, and what is wrong with those tried before it, such as "/x (TMPDIR) does not
 * exist". Or one line that says what was tried and what to do.
 */
export type TemporaryDirectoryFinding =
  | { kind: "found"; path: string; problems: readonly string[] }
  | { kind: "none"; message: string };

/**
 * Returns the first directory in which a file can be written: TMPDIR, TEMP and TMP of `env`, then /tmp, /var/tmp, /usr/tmp
 * and the working directory. The result can change, because a disk may be full later or have space again. Never throws.
 */
export async function findTemporaryDirectory(
  env: Readonly<Record<string, string | undefined>>,
): Promise<TemporaryDirectoryFinding> {
  const problems: string[] = [];
  for (const [path, origin] of candidates(env)) {
    try {
      await tryWriting(path);
      return { kind: "found", path, problems };
    } catch (error) {
      problems.push(`${path}${origin ? ` (${origin})` : ""} ${directoryProblem(error)}`);
    }
  }
  const tried = problems.join("; ");
  return {
    kind: "none",
    message: `No directory for temporary files: ${tried}. Set TMPDIR to a directory that can be written to, or make room there.`,
  };
}

/**
 * Creates a new temporary directory that only this user can read, and returns its path. Throws ShortageError when there is
 * no place.
 */
export async function makeTemporaryDirectory(
  prefix: string,
  env: Readonly<Record<string, string | undefined>>,
): Promise<string> {
  const finding = await findTemporaryDirectory(env);
  if (finding.kind === "none") throw new ShortageError("no temporary directory", finding.message);
  return await mkdtemp(join(finding.path, prefix));
}

function candidates(env: Readonly<Record<string, string | undefined>>): Map<string, string | undefined> {
  const found = new Map<string, string | undefined>();
  const add = (path: string, origin?: string): void => {
    if (!found.has(resolve(path))) found.set(resolve(path), origin);
  };
  for (const name of ["TMPDIR", "TEMP", "TMP"]) {
    const path = env[name];
    if (path) add(path, name);
  }
  for (const path of ["/tmp", "/var/tmp", "/usr/tmp"]) add(path);
  add(".", "the working directory");
  return found;
}

/** Writes a file with content, because on a full disk an empty file can still be created. */
async function tryWriting(directory: string): Promise<void> {
  const file = join(directory, `lictor-${randomUUID()}`);
  try {
    await writeFile(file, "lictor", { flag: "wx", mode: 0o600 });
  } finally {
    await rm(file, { force: true }).catch(() => {});
  }
}
