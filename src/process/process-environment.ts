// What other processes of this machine were started with.
import { readFile } from "node:fs/promises";
import { setTimeout as delay } from "node:timers/promises";
import { isGone } from "./process-table.ts";

/** A lack of file handles usually lasts for some milliseconds only. */
const attempts = 5;
const pauseMs = 50;

/**
 * Whether the process was started with `name=value` in its environment. It recognises a process that somebody else has
 * started, whose pid may belong to another process by now. False where this cannot be known: no such process, another
 * user's, or not on Linux. Throws when the machine cannot answer now, for example without a free file handle.
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
