// Proves that a process id still names the same process, because the system reuses the ids.
import { execFile } from "node:child_process";
import { readFile, readlink } from "node:fs/promises";
import { promisify } from "node:util";
import { isGone } from "./process-table.ts";

/** What distinguishes a process from an earlier or later one with the same id. Empty texts are unknown. */
export interface ProcessIdentity {
  /** On Linux in clock ticks since the boot of the machine, elsewhere a date. */
  readonly startTime: string;
  /** Changes with each boot of the machine. */
  readonly bootId: string;
}

/**
 * Returns the identity of a process. Returns null if there is none, or if it has ended and nobody has read its exit code.
 * Throws the system's error for a shortage, for example of file handles.
 */
export async function identifyProcess(pid: number): Promise<ProcessIdentity | null> {
  const startTime = process.platform === "linux" ? await readStartTime(pid) : await readStartTimeByPs(pid);
  return startTime === null ? null : { startTime, bootId: await readBootId() };
}

/** Returns whether the process with this id is alive and is the one with this identity. Throws like identifyProcess. */
export async function isSameProcess(pid: number, { startTime, bootId }: ProcessIdentity): Promise<boolean> {
  const found = await identifyProcess(pid);
  return found !== null && found.startTime === startTime && found.bootId === bootId;
}

/** Returns the working directory of another process. Null if the system does not tell it. */
export async function readWorkingDirectory(pid: number): Promise<string | null> {
  return await readlink(`/proc/${pid}/cwd`).catch(() => null);
}

/** Source: proc(5), /proc/pid/stat: the state is field 3, the start time is field 22. */
async function readStartTime(pid: number): Promise<string | null> {
  try {
    const stat = await readFile(`/proc/${pid}/stat`, "utf8");
    // The name in parentheses may contain any character.
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return /^[ZX]/.test(fields[0] ?? "Z") ? null : (fields[19] ?? null);
  } catch (error) {
    if (isGone(error)) return null;
    throw error;
  }
}

async function readStartTimeByPs(pid: number): Promise<string | null> {
  const { stdout } = await promisify(execFile)("ps", ["-o", "state=,lstart=", "-p", String(pid)]).catch(() => ({
    stdout: "",
  }));
  const [, state = "Z", startTime = ""] = /^(\S+)\s+(.*)$/.exec(stdout.trim()) ?? [];
  return /^[ZX]/.test(state) ? null : startTime;
}

let bootId: Promise<string> | undefined;

async function readBootId(): Promise<string> {
  bootId ??= readFile("/proc/sys/kernel/random/boot_id", "utf8").then(
    (text) => text.trim(),
    () => "",
  );
  return await bootId;
}
