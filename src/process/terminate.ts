// Ending a process group: SIGTERM, a time to tidy up, SIGKILL.
import { sleep } from "../async/sleep.ts";
import type { StartedProcess } from "./start-process.ts";

/** What a flow run's processes get between SIGTERM and SIGKILL. Source: prefect workers/process.py, 30 s. */
export const terminateGraceMs = 30_000;

/** How often a group whose leader is gone is asked whether anybody is left. */
const groupPollMs = 100;

/** Sends a signal to every process of the group; false when none is left. */
export function signalGroup(groupId: number, signal: NodeJS.Signals | 0): boolean {
  try {
    process.kill(-groupId, signal);
    return true;
  } catch (error) {
    // EPERM: the group lives on under another user, which a signal cannot end.
    if ((error as NodeJS.ErrnoException).code === "ESRCH") return false;
    throw error;
  }
}

/**
 * Ends a child and everything in its process group: SIGTERM, up to `graceMs` for all of them to go, then SIGKILL.
 * Returns when none is left. `now` cuts the grace short.
 */
export async function terminate(child: StartedProcess, graceMs: number, now: AbortSignal): Promise<void> {
  if (!signalGroup(child.pid, "SIGTERM")) return;
  const until = Date.now() + graceMs;
  const left = new AbortController();
  await Promise.race([child.exited, sleep(graceMs, AbortSignal.any([now, left.signal]))]);
  // Or the timer of the grace would keep the program alive.
  left.abort();
  while (!now.aborted && Date.now() < until && signalGroup(child.pid, 0)) await sleep(groupPollMs, now);
  signalGroup(child.pid, "SIGKILL");
  await child.exited;
}
