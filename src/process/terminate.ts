// Ending a process with its descendants: SIGTERM, a time to tidy up, SIGKILL.

import { monotonicMs } from "../async/clock.ts";
import { sleep, waitAtMost } from "../async/sleep.ts";
import { descendantGroups, haveLiving } from "./process-groups.ts";
import type { StartedProcess } from "./start-process.ts";

/** What a flow run's processes get between SIGTERM and SIGKILL. Source: prefect workers/process.py, 30 s. */
export const terminateGraceMs = 30_000;

/** How often a group whose leader is gone is asked whether anybody is left. */
const groupPollMs = 100;

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
 * them to go, then SIGKILL. Returns when none is left. `now` cuts the grace short.
 */
export async function terminate({ pid, exited }: Leader, graceMs: number, now: AbortSignal): Promise<void> {
  const groups = await descendantGroups(pid);
  const signalAll = (signal: NodeJS.Signals | 0): boolean =>
    groups.map((group) => signalGroup(group, signal)).includes(true);
  if (!signalAll("SIGTERM")) return;
  const until = monotonicMs() + graceMs;
  if (exited !== undefined) await waitAtMost(exited, graceMs, now);
  const areLeft = async (): Promise<boolean> => signalAll(0) && (await haveLiving(groups));
  while (!now.aborted && monotonicMs() < until && (await areLeft())) await sleep(groupPollMs, now);
  signalAll("SIGKILL");
  await exited;
}
