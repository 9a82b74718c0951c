// Ending a process with its descendants: SIGTERM, a time to tidy up, SIGKILL.

import { monotonicMs } from "../async/clock.ts";
import { sleep, waitAtMost } from "../async/sleep.ts";
import { descendantGroups, livingGroups } from "./process-groups.ts";
import type { StartedProcess } from "./start-process.ts";

/** What a flow run's processes get between SIGTERM and SIGKILL. Source: prefect workers/process.py, 30 s. */
export const terminateGraceMs = 30_000;

/** When the groups of a process that has ended are looked at again: soon at first, then less and less often. */
const firstPollMs = 100;
const lastPollMs = 1_000;
/**
 * How often they are looked at while it lives. A group must be seen empty before its number can be in use again, and the
 * system gives a number again only after all others, which are 32,768 at least.
 */
const leaderPollMs = 1_000;
/** How long a table of processes that cannot be read is tried again before only the process's own group is ended. */
const tableTimeoutMs = 5_000;

/** Sends a signal to every process of the group that it can reach; false when there is none, or only other users'. */
export function signalGroup(groupId: number, signal: NodeJS.Signals | 0): boolean {
  try {
    process.kill(-groupId, signal);
    return true;
  } catch (error) {
    if (["ESRCH", "EPERM"].includes((error as NodeJS.ErrnoException).code ?? "")) return false;
    throw error;
  }
}

/** A process that leads a group of its own; of one that is nobody's child here no exit is told. */
type Leader = Pick<StartedProcess, "pid"> & Partial<Pick<StartedProcess, "exited">>;

/**
 * Ends a process and everything in its process group and in those of its descendants: SIGTERM, up to `graceMs` for all of
 * them to go, then SIGKILL. Returns when none is left. `now` cuts the grace short, `send` sends the signals.
 */
export async function terminate(
  { pid, exited }: Leader,
  graceMs: number,
  now: AbortSignal,
  send: typeof signalGroup = signalGroup,
): Promise<void> {
  const until = monotonicMs() + graceMs;
  let leaderLives = exited !== undefined;
  const leaderEnd = exited?.then(() => {
    leaderLives = false;
  });
  const groups = new Set(await findGroups(pid, now));
  const signalAll = (signal: NodeJS.Signals): void => {
    for (const group of groups) if (!send(group, signal)) groups.delete(group);
  };
  signalAll("SIGTERM");
  let pollMs = firstPollMs;
  while (groups.size > 0 && !now.aborted && monotonicMs() < until) {
    if (leaderEnd && leaderLives) await waitAtMost(leaderEnd, Math.min(leaderPollMs, until - monotonicMs()), now);
    else {
      await sleep(Math.min(pollMs, until - monotonicMs()), now);
      // A reading of the table costs 20 ms and more, and 30 s are long.
      pollMs = Math.min(pollMs * 1.25, lastPollMs);
    }
    await forgetEnded(groups, { alsoUnreaped: !leaderLives, send });
  }
  // Without more time there is no time to look again either.
  const found = leaderLives && !now.aborted ? await descendantGroups(pid) : undefined;
  if (leaderLives) for (const group of found ?? []) groups.add(group);
  signalAll("SIGKILL");
  await exited;
}

/** The groups to end; only the process's own when the table of processes stays unreadable. */
async function findGroups(pid: number, now: AbortSignal): Promise<number[]> {
  const until = monotonicMs() + tableTimeoutMs;
  let groups = await descendantGroups(pid);
  while (!groups && !now.aborted && monotonicMs() < until) {
    await sleep(firstPollMs, now);
    groups = await descendantGroups(pid);
  }
  return groups ?? [pid];
}

/**
 * Removes the groups that are empty. Their numbers can be given to other processes from now on, which a later SIGKILL must
 * not hit. With `alsoUnreaped`, removes also groups of processes that have ended and whose parents do not notice.
 */
async function forgetEnded(
  groups: Set<number>,
  { alsoUnreaped, send }: { alsoUnreaped: boolean; send: typeof signalGroup },
): Promise<void> {
  for (const group of groups) if (!send(group, 0)) groups.delete(group);
  if (!alsoUnreaped || groups.size === 0) return;
  const living = await livingGroups([...groups]);
  for (const group of groups) {
    if (!living || living.includes(group)) continue;
    // A process that was started while the table was read may have been missed.
    send(group, "SIGKILL");
    groups.delete(group);
  }
}
