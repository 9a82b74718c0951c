// Ends a process and its descendants: SIGTERM, a grace period, SIGKILL.
import { monotonicMs } from "../async/clock.ts";
import { sleep, waitAtMost } from "../async/sleep.ts";
import { descendantGroups, livingGroups } from "./process-groups.ts";

/** The grace period of a flow run's processes between SIGTERM and SIGKILL. Source: prefect workers/process.py, 30 s. */
export const terminateGraceMs = 30_000;

/** The pauses between two checks of the groups after their leader has ended. They grow from the first to the last. */
const firstPollMs = 100;
const lastPollMs = 1_000;
/**
 * The pause between two checks while the leader runs. An empty group must be seen before its number is reused. The system
 * reuses a number only after all others, which are at least 32,768.
 */
const leaderPollMs = 1_000;
/** How long an unreadable process table is tried again. After that, only the process's own group is ended. */
const tableTimeoutMs = 5_000;

/** Sends a signal to a process group. Returns false if it has no process that lictor may signal. */
export function signalGroup(groupId: number, signal: NodeJS.Signals | 0): boolean {
  try {
    process.kill(-groupId, signal);
    return true;
  } catch (error) {
    if (["ESRCH", "EPERM"].includes((error as NodeJS.ErrnoException).code ?? "")) return false;
    throw error;
  }
}

/** A process that leads its own group. `exited` is missing if nothing tells the end of the process. */
export interface Leader {
  readonly pid: number;
  readonly exited?: Promise<unknown>;
}

/**
 * Ends all processes in the groups of a process and its descendants. Sends SIGTERM, waits up to `graceMs` ms for all of
 * them to end, then sends SIGKILL. Returns when none is left. An abort of `now` ends the wait; `send` sends the signals.
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
      // Each reading of the process table costs 20 ms or more, so the pauses grow.
      pollMs = Math.min(pollMs * 1.25, lastPollMs);
    }
    await forgetEnded(groups, { alsoUnreaped: !leaderLives, send });
  }
  // The descendants may have changed meanwhile. After an abort there is no time to read the table again.
  const found = leaderLives && !now.aborted ? await descendantGroups(pid) : undefined;
  if (leaderLives) for (const group of found ?? []) groups.add(group);
  signalAll("SIGKILL");
  await exited;
}

/** Returns the groups to end; only the process's own if the process table stays unreadable. */
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
 * Removes empty groups, because their numbers can be reused and a later SIGKILL would hit other processes. With
 * `alsoUnreaped`, also removes groups that have only zombies.
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
    // A process that was started while the table was read may be missing in it.
    send(group, "SIGKILL");
    groups.delete(group);
  }
}
