// Remembers flow runs whose worker is gone, and for how long nothing was heard of them.
import type { FlowRun } from "../../api/wire.ts";
import { parseTime } from "../../run/run-record.ts";
import { isUnchanged } from "../../run/settle-lost.ts";

/** A flow run whose worker is gone. */
interface Suspect {
  readonly flowRun: FlowRun;
  /** What the server had heard of it when `quietMs` was 0. */
  readonly sign: string;
  quietMs: number;
  lookedAtMs: number;
  /** It was due at the look before. */
  wasDue: boolean;
}

/** `new`: nothing is known of it. `quiet`: nothing was heard of it so far. `due`: this lasted long enough. */
export type Verdict = "new" | "quiet" | "due";

/**
 * The suspects of one worker. The silence is measured between this worker's own looks, on the monotonic clock. So the clocks
 * of servers and machines do not matter, and neither does an outage before the first look: all workers and engines get the
 * same time to report. A time between two looks counts as half of the necessary silence at most, because this program may
 * have been stopped meanwhile.
 */
export class Suspects {
  #suspects = new Map<string, Suspect>();

  constructor(private readonly lostAfterMs: number) {}

  /** How many flow runs are watched. */
  get size(): number {
    return this.#suspects.size;
  }

  /** Forgets all, because a look failed. Nobody knows whether the others could reach the server either. */
  clear(): void {
    this.#suspects.clear();
  }

  /** Forgets one flow run. */
  delete(flowRunId: string): void {
    this.#suspects.delete(flowRunId);
  }

  /** Forgets flow runs that are not among these ids. */
  keepOnly(flowRunIds: readonly string[]): void {
    const kept = new Set(flowRunIds);
    for (const id of this.#suspects.keys()) if (!kept.has(id)) this.#suspects.delete(id);
  }

  /** Begins to watch a flow run, of which the server has heard `sign` last. */
  watch(flowRun: FlowRun, sign: string, nowMs: number): void {
    this.#suspects.set(flowRun.id, { flowRun, sign, quietMs: 0, lookedAtMs: nowMs, wasDue: false });
  }

  /**
   * Adds the time since the last look. `rank` is how many workers come before this one: the first one settles the flow run,
   * and the others do so if it is still there at their next look.
   */
  look(flowRun: FlowRun, rank: number, nowMs: number): Verdict {
    const suspect = this.#suspects.get(flowRun.id);
    if (!suspect || !isUnchanged(flowRun, suspect.flowRun)) return "new";
    suspect.quietMs += Math.min(nowMs - suspect.lookedAtMs, this.lostAfterMs / 2);
    suspect.lookedAtMs = nowMs;
    if (suspect.quietMs < this.lostAfterMs + retryDelayMs(flowRun)) return "quiet";
    const isTurn = rank === 0 || suspect.wasDue;
    suspect.wasDue = true;
    return isTurn ? "due" : "quiet";
  }

  /** Returns whether the server has heard nothing else than `sign` since the watch began. */
  isSilent(flowRunId: string, sign: string): boolean {
    return this.#suspects.get(flowRunId)?.sign === sign;
  }
}

/**
 * Returns for how long an engine waits for its next attempt in silence. Both times are of the server's clock. An engine sends
 * no heartbeats in this wait, and reports Running after it.
 */
function retryDelayMs({ state }: FlowRun): number {
  if (state?.type !== "SCHEDULED") return 0;
  const [enteredAt, retryAt] = [
    parseTime(state.timestamp),
    parseTime(state.state_details?.scheduled_time ?? undefined),
  ];
  return enteredAt === null || retryAt === null ? 0 : Math.max(0, retryAt - enteredAt);
}
