// Reads the environment that another process of this machine was started with.
import { readFile } from "node:fs/promises";
import { setTimeout as delay } from "node:timers/promises";
import { isGone } from "./process-table.ts";

/** A shortage of file handles usually lasts only some milliseconds. */
const attempts = 5;
const pauseMs = 50;

/**
 * Returns whether the process was started with `name=value` in its environment. This proves that a pid still belongs to the
 * process that another program started. Returns false if it cannot be known: there is no such process, it is another
 * user's, or the system is not Linux. Throws the system's error for a shortage, for example of file handles.
 */
export async function wasStartedWith(pid: number, name: string, value: string): Promise<boolean> {
  const environment = await readEnvironment(pid);
  return environment.split("\0").includes(`${name}=${value}`);
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
