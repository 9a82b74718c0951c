// Reads the system's process table. Callers at the same time share one reading.
import { execFile } from "node:child_process";
import { readdir, readFile } from "node:fs/promises";
import { setTimeout as delay } from "node:timers/promises";
import { promisify } from "node:util";

/** One process. `hasEnded` is true for a zombie: it has ended, but its parent has not read its exit code. */
export interface ProcessRow {
  readonly pid: number;
  readonly parent: number;
  readonly group: number;
  /** Outside Linux the group, because `ps` does not tell the session everywhere. */
  readonly session: number;
  readonly hasEnded: boolean;
}

/** How many files one reading opens at the same time. Node.js reads with four threads, so more files would only wait. */
const filesAtOnce = 4;
/** A failed reading is repeated, because a shortage of file handles usually lasts only some milliseconds. */
const attempts = 5;
const pauseMs = 50;

let current: Promise<readonly ProcessRow[] | undefined> | undefined;
let following: Promise<readonly ProcessRow[] | undefined> | undefined;

/**
 * Returns all processes of this machine; undefined when the table cannot be read completely, for example without a free
 * file handle. A partial table is never returned, because a missing row would look like a process that has ended.
 *
 * All callers share a reading, because there is one table per machine. A caller never gets a reading that began before its
 * call, because that reading may lack a process that was started meanwhile. Never throws.
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
      return process.platform === "linux" ? await readProc() : await readPs();
    } catch {
      // The shortage may end before the next attempt. After the last failure, the caller gets undefined.
      if (attempt < attempts) await delay(attempt * pauseMs);
    }
  }
  return undefined;
}

async function readPs(): Promise<ProcessRow[]> {
  const { stdout } = await promisify(execFile)("ps", ["-A", "-o", "pid=,state=,ppid=,pgid="]);
  return stdout.trim().split("\n").map(toRow);
}

/** Reads /proc, because containers often have no `ps`. Throws when a process that may be ours cannot be read. */
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
    // The name in parentheses may contain any character. State, parent, group and session follow it.
    return toRow(`${pid} ${stat.slice(stat.lastIndexOf(")") + 2)}`);
  } catch (error) {
    if (isGone(error) || isForeign(error, Number(pid))) return undefined;
    throw error;
  }
}

/** Returns whether a file of /proc could not be read because its process has ended. */
export function isGone(error: unknown): boolean {
  return ["ENOENT", "ESRCH"].includes((error as NodeJS.ErrnoException).code ?? "");
}

/** Returns whether the process is another user's. With the mount option hidepid=1 it can be neither read nor signalled. */
function isForeign(error: unknown, pid: number): boolean {
  if (!["EACCES", "EPERM"].includes((error as NodeJS.ErrnoException).code ?? "")) return false;
  try {
    process.kill(pid, 0);
    return false;
  } catch {
    return true;
  }
}

/** Parses a line that begins with pid, state, parent and group. The session may follow. */
function toRow(line: string): ProcessRow {
  const [pid, state = "", parent, group, session = group] = line.trim().split(/\s+/, 5);
  return {
    pid: Number(pid),
    parent: Number(parent),
    group: Number(group),
    session: Number(session),
    hasEnded: /^[ZX]/.test(state),
  };
}
