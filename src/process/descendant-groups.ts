// The process groups below a process: a descendant that has made a session of its own is not reached by a signal to the
// group it comes from. `prefect flow-run execute` starts its engine like that.
import { execFile } from "node:child_process";
import { readdir, readFile } from "node:fs/promises";
import { promisify } from "node:util";

interface ProcessRow {
  pid: number;
  parent: number;
  group: number;
}

/**
 * The groups of a living process and of all its descendants, its own first. One that cannot be looked at has only its
 * own. Never throws.
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

async function readProcesses(): Promise<ProcessRow[]> {
  if (process.platform === "linux") return await readProc();
  const { stdout } = await promisify(execFile)("ps", ["-A", "-o", "pid=,ppid=,pgid="]);
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
      const [, parent, group] = stat?.slice(stat.lastIndexOf(")") + 2).split(" ") ?? [];
      return parent === undefined || group === undefined ? [] : [toRow(`${pid} ${parent} ${group}`)];
    }),
  );
  return rows.flat();
}

function toRow(line: string): ProcessRow {
  const [pid = 0, parent = 0, group = 0] = line.trim().split(/\s+/).map(Number);
  return { pid, parent, group };
}
