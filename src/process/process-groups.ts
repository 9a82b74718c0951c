// Finds the process groups of a process and its descendants.
import { readProcessTable } from "./process-table.ts";

/**
 * Returns the groups of a living process and all its descendants, its own group first. A descendant in a new session has
 * another group, so a signal to the first group does not reach it. `prefect flow-run execute` starts its engine like that.
 * Returns undefined when the process table cannot be read. Never throws.
 */
export async function descendantGroups(leader: number): Promise<number[] | undefined> {
  const rows = await readProcessTable();
  if (!rows) return undefined;
  const groups = new Set([leader]);
  const found = new Set([leader]);
  // Parents may come after their children in the list.
  for (let before = 0; before !== found.size; ) {
    before = found.size;
    for (const { pid, parent, group } of rows) {
      if (!found.has(parent)) continue;
      found.add(pid);
      // A signal to group 0 would reach lictor's own group, and a signal to group 1 every process.
      if (group > 1) groups.add(group);
    }
  }
  return [...groups];
}

/**
 * Returns the groups that have a process that has not ended. A signal cannot show this, because it also reaches zombies.
 * Zombies stay until their parent reads their exit code: in a container without an init process, for ever. Returns
 * undefined when the process table cannot be read. Never throws.
 */
export async function livingGroups(groups: readonly number[]): Promise<number[] | undefined> {
  const rows = await readProcessTable();
  return rows && groups.filter((id) => rows.some(({ group, hasEnded }) => group === id && !hasEnded));
}
