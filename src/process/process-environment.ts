// What other processes of this machine were started with.
import { readFile } from "node:fs/promises";

/**
 * Whether the process was started with `name=value` in its environment: how one is recognised that somebody else has
 * started, since a pid alone may long be another's. False where it cannot be known: no such process, another user's, or
 * not on Linux.
 */
export async function wasStartedWith(pid: number, name: string, value: string): Promise<boolean> {
  const environment = await readFile(`/proc/${pid}/environ`, "utf8").catch(() => "");
  return environment.split("\0").includes(`${name}=${value}`);
}
