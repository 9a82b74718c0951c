// Reads the environment that another process of this machine was started with.
import { readdir, readFile } from "node:fs/promises";
import { setTimeout as delay } from "node:timers/promises";
import { isGone } from "./process-table.ts";

/** A shortage of file handles usually lasts only some milliseconds. */
const attempts = 5;
const pauseMs = 50;

/** The variable that each process of a flow run gets. Source: prefect workers/base.py. */
export const flowRunVariable = "PREFECT__FLOW_RUN_ID";

/**
 * Returns whether the process was started with `name=value` in its environment. This proves that a pid still belongs to the
 * process that another program started. Returns false if it cannot be known: there is no such process, it is another
 * user's, or the system is not Linux. Throws the system's error for a shortage, for example of file handles.
 */
export async function wasStartedWith(pid: number, name: string, value: string): Promise<boolean> {
  const environment = await readEnvironment(pid);
  return environment.split("\0").includes(`${name}=${value}`);
}

/**
 * Returns the ids of the processes that were started with `name=value` in their environment, oldest id first. Returns none
 * if the system is not Linux.
 */
export async function findStartedWith(name: string, value: string): Promise<number[]> {
  const pids = (await readdir("/proc").catch(() => [])).filter((entry) => /^\d+$/.test(entry)).map(Number);
  const found: number[] = [];
  for (const pid of pids) if (await wasStartedWith(pid, name, value)) found.push(pid);
  return found.sort((one, other) => one - other);
}

/** Returns the variables that a process was started with; none if they cannot be read. Throws like `wasStartedWith`. */
export async function readProcessVariables(pid: number): Promise<Record<string, string>> {
  const entries = (await readEnvironment(pid)).split("\0").filter((entry) => entry.includes("=", 1));
  return Object.fromEntries(
    entries.map((entry) => [entry.slice(0, entry.indexOf("=", 1)), entry.slice(entry.indexOf("=", 1) + 1)]),
  );
}

async function readEnvironment(pid: number): Promise<string> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await readFile(`/proc/${pid}/environ`, "utf8");
    } catch (error) {
      const isForeign = ["EACCES", "EPERM"].includes((error as NodeJS.ErrnoException).code ?? "");
      if (isGone(error) || isForeign) return "";
      if (attempt === attempts) throw error;
    }
    await delay(attempt * pauseMs);
  }
}
