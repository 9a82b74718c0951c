// The processes of the workers and of their flow runs, found by what they have in their environments.
import { readdir, readFile } from "node:fs/promises";
import { signalProcess } from "../support/processes.ts";

/** A living process below one of the home directories. */
export interface FoundProcess {
  pid: number;
  /** Null for a worker. */
  flowRunId: string | null;
  command: string;
}

/** Lists the processes whose HOME is one of these directories. */
export async function findProcesses(homes: readonly string[]): Promise<FoundProcess[]> {
  const found: FoundProcess[] = [];
  for (const entry of await readdir("/proc")) {
    if (!/^\d+$/.test(entry)) continue;
    const environment = (await read(`/proc/${entry}/environ`)).split("\0");
    if (!homes.some((home) => environment.includes(`HOME=${home}`))) continue;
    const id = environment.find((each) => each.startsWith("PREFECT__FLOW_RUN_ID="));
    const command = (await read(`/proc/${entry}/cmdline`)).replaceAll("\0", " ").trim();
    found.push({ pid: Number(entry), flowRunId: id?.slice(id.indexOf("=") + 1) ?? null, command });
  }
  return found;
}

/** Sends SIGKILL to all of them until none is left. Returns those that were seen. */
export async function killProcesses(homes: readonly string[]): Promise<FoundProcess[]> {
  const seen: FoundProcess[] = [];
  for (let round = 0; round < 5; round++) {
    const found = await findProcesses(homes);
    if (found.length === 0) break;
    seen.push(...found);
    for (const { pid } of found) signalProcess(pid, "SIGKILL");
  }
  return seen;
}

/** A process may end meanwhile, and an ended one has an empty environment. */
async function read(file: string): Promise<string> {
  return await readFile(file, "utf8").catch(() => "");
}
