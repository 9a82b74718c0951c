// The process groups of a process and its descendants, for what signals do not tell.
import { readProcessTable } from "./process-table.ts";

/**
 * The groups of a living process and of all its descendants, its own first. A descendant that has made a session of its own
 * is not reached by a signal to the group it comes from: `prefect flow-run execute` starts its engine like that. Undefined
 * when the table of processes cannot be read. Never throws.
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
      // Signals to 0 and 1 would go to lictor's own group, or to everybody.
      if (group > 1) groups.add(group);
    }
  }
  return [...groups];
}

/**
 * Those of `groups` that have a process that has not ended. A signal reaches ended processes too: they stay until their
 * parent asks for their exit code, in a container without an init for ever. Undefined when the table of processes cannot
 * be read. Never throws.
 */
export async function livingGroups(groups: readonly number[]): Promise<number[] | undefined> {
  const rows = await readProcessTable();
  return rows && groups.filter((id) => rows.some(({ group, hasEnded }) => group === id && !hasEnded));
}
