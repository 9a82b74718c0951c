// Process groups by the system's table of processes, for what signals do not tell.
import { execFile } from "node:child_process";
import { readdir, readFile } from "node:fs/promises";
import { promisify } from "node:util";

interface ProcessRow {
  pid: number;
  parent: number;
  group: number;
  hasEnded: boolean;
}

/**
 * The groups of a living process and of all its descendants, its own first: one that has made a session of its own is not
 * reached by a signal to the group it comes from. `prefect flow-run execute` starts its engine like that. A process that
 * cannot be looked at has only its own group. Never throws.
 */
export async function descendantGroups(leader: number): Promise<number[]> {
  const rows = await readProcesses().catch(() => []);
  const groups = new Set([leader]);
  const found = new Set([leader]);
  // Parents may come after their children in the list.
  for (let before = 0; before !== found.size; ) {
    before = found.size;
    for (const { pid, parent, group } of rows) {
      if (!found.has(parent)) continue;
      found.add(pid);
      // Signals to 0 and 1 would go to lictor's own group, or to everybody.
      if (group > 1) groups.add(group);
    }
  }
  return [...groups];
}

/**
 * Whether a process of these groups is left that has not ended. A signal reaches those too that have: they stay until their
 * parent asks for their exit code, in a container without an init for ever. Never throws.
 */
export async function haveLiving(groups: readonly number[]): Promise<boolean> {
  const rows = await readProcesses().catch(() => undefined);
  return rows?.some(({ group, hasEnded }) => groups.includes(group) && !hasEnded) ?? true;
}

async function readProcesses(): Promise<ProcessRow[]> {
  if (process.platform === "linux") return await readProc();
  const { stdout } = await promisify(execFile)("ps", ["-A", "-o", "pid=,state=,ppid=,pgid="]);
  return stdout.trim().split("\n").map(toRow);
}

/** Containers often have no `ps`. */
async function readProc(): Promise<ProcessRow[]> {
  const pids = (await readdir("/proc")).filter((name) => /^\d+$/.test(name));
  const rows = await Promise.all(
    pids.map(async (pid) => {
      // Gone meanwhile: it has no descendants either.
      const stat = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => undefined);
      // The name in parentheses may hold anything; after it come state, parent and group.
      return stat === undefined ? [] : [toRow(`${pid} ${stat.slice(stat.lastIndexOf(")") + 2)}`)];
    }),
  );
  return rows.flat();
}

/** From a line that begins with pid, state, parent and group. */
function toRow(line: string): ProcessRow {
  const [pid, state = "", parent, group] = line.trim().split(/\s+/, 4);
  return { pid: Number(pid), parent: Number(parent), group: Number(group), hasEnded: /^[ZX]/.test(state) };
}
