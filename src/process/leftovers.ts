// Ends the processes that a program left behind in its session.
import { monotonicMs } from "../async/clock.ts";
import { neverAborts } from "../async/never-aborts.ts";
import { sleep } from "../async/sleep.ts";
import { type ProcessRow, readProcessTable } from "./process-table.ts";
import { signalGroup } from "./terminate.ts";

/** Helpers of a program often end by themselves just after it. So processes count as left behind only after this time. */
const settleMs = 1_000;
/** The pauses between two looks at the process table. They grow, because each reading costs 20 ms or more. */
const firstPollMs = 100;
const lastPollMs = 1_000;
/** How long an unreadable process table is tried again. */
const tableTimeoutMs = 30_000;
/** How long processes may need to end after SIGKILL, for example because they wait for a disk. */
const afterKillMs = 5_000;

/** The session of a program that has ended, and what to do with its processes. */
export interface LeftoverOptions {
  /** The pid that the program had. It led the session. */
  readonly session: number;
  /** The time between SIGTERM and SIGKILL. Null to keep the processes. */
  readonly graceMs: number | null;
  /** An abort sends SIGKILL within the abort call, because the program may exit directly after it. */
  readonly now: AbortSignal;
  /** Called before the first signal, if anything was left. Returns false if the processes are not of the program. */
  onFound(pids: readonly number[]): Promise<boolean>;
}

/**
 * Ends all processes in the session of a program that has ended, in all process groups. Processes that began a session of
 * their own are not in it. Returns the pids that could not be ended. Throws an error if the process table stays unreadable.
 */
export async function endLeftovers(
  { session, graceMs, now, onFound }: LeftoverOptions,
  send: typeof signalGroup = signalGroup,
): Promise<number[]> {
  let left = await findLeftovers(session, now);
  if (left.length > 0) {
    await sleep(settleMs, now);
    left = await findLeftovers(session, now);
  }
  if (left.length === 0 || !(await onFound(pidsOf(left))) || graceMs === null) return [];
  const signalAll = (signal: NodeJS.Signals): void => {
    for (const group of new Set(left.map((row) => row.group))) send(group, signal);
  };
  const onNow = (): void => signalAll("SIGKILL");
  now.addEventListener("abort", onNow);
  try {
    if (!now.aborted) signalAll("SIGTERM");
    const killAt = monotonicMs() + graceMs;
    let pollMs = firstPollMs;
    while (left.length > 0 && monotonicMs() < killAt && !now.aborted) {
      await sleep(Math.min(pollMs, killAt - monotonicMs()), now);
      pollMs = Math.min(pollMs * 1.25, lastPollMs);
      left = await findLeftovers(session, now);
    }
    const giveUpAt = monotonicMs() + afterKillMs;
    while (left.length > 0 && monotonicMs() < giveUpAt) {
      // Processes may have been started while the table was read.
      signalAll("SIGKILL");
      await sleep(firstPollMs, neverAborts);
      left = await findLeftovers(session, now);
    }
  } finally {
    now.removeEventListener("abort", onNow);
  }
  return pidsOf(left);
}

/**
 * Returns the processes of the session that have not ended. The system does not reuse the number of a session while it has
 * a process. So a caller that gets none must not ask again.
 */
async function findLeftovers(session: number, now: AbortSignal): Promise<ProcessRow[]> {
  const until = monotonicMs() + tableTimeoutMs;
  let rows = await readProcessTable();
  while (!rows && !now.aborted && monotonicMs() < until) {
    await sleep(lastPollMs, now);
    rows = await readProcessTable();
  }
  if (!rows) throw new Error("the process table cannot be read");
  // The program has ended, so a living process with its pid shows that the number was reused.
  if (rows.some(({ pid, hasEnded }) => pid === session && !hasEnded)) return [];
  // A signal to group 1 would reach every process.
  return rows.filter((row) => row.session === session && row.group > 1 && !row.hasEnded);
}

function pidsOf(rows: readonly ProcessRow[]): number[] {
  return rows.map(({ pid }) => pid);
}
