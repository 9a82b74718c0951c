// The system's table of processes, read once for everybody who asks at the same time.
import { execFile } from "node:child_process";
import { readdir, readFile } from "node:fs/promises";
import { setTimeout as delay } from "node:timers/promises";
import { promisify } from "node:util";

/** One process. `hasEnded` is true for one that has ended and whose exit code nobody has asked for yet (a zombie). */
export interface ProcessRow {
  readonly pid: number;
  readonly parent: number;
  readonly group: number;
  readonly hasEnded: boolean;
}

/** Files that one reading holds open at the same time. Node.js reads with four threads, so more would only wait. */
const filesAtOnce = 4;
/** A reading that fails is repeated: a lack of file handles usually lasts for some milliseconds only. */
const attempts = 5;
const pauseMs = 50;

let current: Promise<readonly ProcessRow[] | undefined> | undefined;
let following: Promise<readonly ProcessRow[] | undefined> | undefined;

/**
 * Reads all processes of this machine; undefined when the table cannot be read completely, for example without a free
 * file handle. A partial table is never returned, because a missing row would be taken for a process that has ended.
 *
 * There is one table per machine, so all callers share a reading. A caller never gets a reading that began before its
 * call: that reading may have passed the place of a process that the caller knows of. Never throws.
 */
export async function readProcessTable(): Promise<readonly ProcessRow[] | undefined> {
  if (!current) return await startReading();
  following ??= current.then(() => {
    following = undefined;
    return startReading();
  });
  return await following;
}

function startReading(): Promise<readonly ProcessRow[] | undefined> {
  const reading = readRepeatedly().finally(() => {
    if (current === reading) current = undefined;
  });
  current = reading;
  return reading;
}

async function readRepeatedly(): Promise<readonly ProcessRow[] | undefined> {
  for (let attempt = 1; attempt <= attempts; attempt++) {
    try {
      return process.platform === "linux" ? await readProc() : await askPs();
    } catch {
      // No handle, no memory: the next attempt may find some. The caller learns of the last failure by undefined.
      if (attempt < attempts) await delay(attempt * pauseMs);
    }
  }
  return undefined;
}

async function askPs(): Promise<ProcessRow[]> {
  const { stdout } = await promisify(execFile)("ps", ["-A", "-o", "pid=,state=,ppid=,pgid="]);
  return stdout.trim().split("\n").map(toRow);
}

/** Containers often have no `ps`. Throws when a process that may be ours cannot be read. */
async function readProc(): Promise<ProcessRow[]> {
  const pids = (await readdir("/proc")).filter((name) => /^\d+$/.test(name));
  const rows: ProcessRow[] = [];
  for (let from = 0; from < pids.length; from += filesAtOnce) {
    const some = await Promise.all(pids.slice(from, from + filesAtOnce).map(readProcess));
    for (const row of some) if (row) rows.push(row);
  }
  return rows;
}

async function readProcess(pid: string): Promise<ProcessRow | undefined> {
  try {
    const stat = await readFile(`/proc/${pid}/stat`, "utf8");
    // The name in parentheses may hold anything; after it come state, parent and group.
    return toRow(`${pid} ${stat.slice(stat.lastIndexOf(")") + 2)}`);
  } catch (error) {
    if (isGone(error) || isForeign(error, Number(pid))) return undefined;
    throw error;
  }
}

/** Whether a file of /proc could not be read because its process has ended. */
export function isGone(error: unknown): boolean {
  return ["ENOENT", "ESRCH"].includes((error as NodeJS.ErrnoException).code ?? "");
}

/** With the mount option hidepid=1 other users' processes cannot be read. They cannot be signalled either. */
function isForeign(error: unknown, pid: number): boolean {
  if (!["EACCES", "EPERM"].includes((error as NodeJS.ErrnoException).code ?? "")) return false;
  try {
    process.kill(pid, 0);
    return false;
  } catch {
    return true;
  }
}

/** From a line that begins with pid, state, parent and group. */
function toRow(line: string): ProcessRow {
  const [pid, state = "", parent, group] = line.trim().split(/\s+/, 4);
  return { pid: Number(pid), parent: Number(parent), group: Number(group), hasEnded: /^[ZX]/.test(state) };
}
