// Looking at and ending operating system processes.
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { readdir, readFile } from "node:fs/promises";
import { setTimeout as delay } from "node:timers/promises";

/** Whether the pid names a process, a zombie included. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}

/** Sends a signal to a pid (negative: to its group); a process that is no more is no error. */
export function signalProcess(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}

/** Lets a process stand still for some time. */
export async function freezeProcess(pid: number, durationMs: number): Promise<void> {
  signalProcess(pid, "SIGSTOP");
  await delay(durationMs);
  signalProcess(pid, "SIGCONT");
}

/** Ends a child: SIGTERM to `target` (its pid, or minus its pid for its group), SIGKILL after the grace. */
export async function endChild(child: ChildProcess, target: number, graceMs: number): Promise<void> {
  if (child.exitCode === null && child.signalCode === null) {
    const exited = once(child, "exit");
    signalProcess(target, "SIGTERM");
    const grace = new AbortController();
    await Promise.race([exited, delay(graceMs, undefined, { signal: grace.signal }).catch(() => undefined)]);
    grace.abort();
    signalProcess(target, "SIGKILL");
    await exited;
  }
  // What the child left in its group outlives it.
  if (target < 0) signalProcess(target, "SIGKILL");
}

/** The pids of all fork servers, which are Pythons that have imported an engine and wait. Linux only. */
export async function forkServers(): Promise<number[]> {
  return await findPids("cmdline", (words) => words.includes("(lictor: imported engine)"));
}

/**
 * Pids whose environment holds exactly `name=value`. Finds the descendants of a process by a value that only they
 * inherited, whatever became of their parents. Linux only: elsewhere the answer is empty.
 */
export async function pidsWithEnvironment(name: string, value: string): Promise<number[]> {
  return await findPids("environ", (variables) => variables.includes(`${name}=${value}`));
}

async function findPids(file: "environ" | "cmdline", isWanted: (words: string[]) => boolean): Promise<number[]> {
  if (process.platform !== "linux") return [];
  const found: number[] = [];
  for (const entry of await readdir("/proc")) {
    if (!/^\d+$/.test(entry)) continue;
    // Another user's process cannot be read, and any may end meanwhile.
    const text = await readFile(`/proc/${entry}/${file}`, "utf8").catch(() => "");
    if (isWanted(text.split("\0"))) found.push(Number(entry));
  }
  return found;
}
