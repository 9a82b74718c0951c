// Flow runs to come: the event stream has told of them and no poll has returned them yet, or a poll has, ahead of their
// time. Decides when to poll again because of them.
import type { FlowRun, ScheduledFlowRun } from "../api/wire.ts";
import type { BothClocks } from "../async/clock.ts";

/** How soon a flow run is asked for again that is due, by the server's own word, and was not returned. */
const retryAfterMs = 300;
/** Beyond this the regular poll has to do; an id and a time are some 100 bytes. */
const maxRemembered = 10_000;
/** A poll answered this soon after the claim of a flow run may have been read before the claim. */
const staleMs = 2_000;

/** What is known about an announced flow run: nothing yet, or when it is to be polled for, on the monotonic clock. */
type Announced = { kind: "unread" } | { kind: "due"; at: number; last: boolean };

/** How long a flow run is left to other workers, and how long they took to claim one. */
export interface Delays {
  delayMs(flowRunId: string): number;
  observe(claimMs: number): void;
}

/** Announced flow runs by id. */
export class AnnouncedRuns {
  readonly #runs = new Map<string, Announced>();
  /** Since when scheduled flow runs are known, on the monotonic clock: from then on they are left to others first. */
  #knownSince = new Map<string, number>();
  /** When other workers' claims were heard of, oldest first. */
  readonly #claimedAt = new Map<string, number>();

  constructor(
    private readonly prefetchMs: number,
    private readonly order: Delays = { delayMs: () => 0, observe: () => undefined },
  ) {}

  /** An event says that this flow run is scheduled. */
  announce(flowRunId: string, now: number): void {
    this.#claimedAt.delete(flowRunId);
    if (this.#runs.size >= maxRemembered) return;
    const delayMs = this.order.delayMs(flowRunId);
    const since = this.#knownSince.get(flowRunId) ?? now;
    this.#knownSince.set(flowRunId, since);
    this.#runs.set(
      flowRunId,
      since + delayMs > now ? { kind: "due", at: since + delayMs, last: false } : { kind: "unread" },
    );
  }

  /** An event says that another worker has claimed this flow run: nothing is to be asked about it. */
  claimed(flowRunId: string, now: number): void {
    const since = this.#knownSince.get(flowRunId);
    if (since !== undefined) this.order.observe(now - since);
    this.#runs.delete(flowRunId);
    this.#knownSince.delete(flowRunId);
    this.#claimedAt.delete(flowRunId);
    this.#claimedAt.set(flowRunId, now);
    for (const [oldest, at] of this.#claimedAt) {
      if (at > now - staleMs) break;
      this.#claimedAt.delete(oldest);
    }
  }

  /** Whether there is an announced flow run to poll for now. */
  isDue(now: number): boolean {
    for (const run of this.#runs.values()) if (run.kind === "unread" || run.at <= now) return true;
    return false;
  }

  /** Forgets flow runs that a poll has returned. */
  forget(flowRunIds: Iterable<string>): void {
    for (const id of flowRunIds) this.#runs.delete(id);
  }

  /**
   * Returns those of a poll's flow runs that are to be started now. Keeps the others for their time minus prefetch, or for
   * the time until which they are left to other workers, whichever is later. Leaves out what has just been claimed.
   */
  takeDue(returned: readonly ScheduledFlowRun[], now: BothClocks): FlowRun[] {
    const flowRuns = returned.map(({ flow_run }) => flow_run).filter(({ id }) => !this.#isClaimed(id, now.monotonicMs));
    this.#remember(flowRuns, now.monotonicMs);
    this.forget(returned.map(({ flow_run }) => flow_run.id));
    return flowRuns.filter((flowRun) => {
      const at = this.#takeAt(flowRun, now);
      if (at > now.monotonicMs) this.#runs.set(flowRun.id, { kind: "due", at, last: false });
      return !(at > now.monotonicMs);
    });
  }

  /** Ids that a poll did not return and whose time is not known; at most 200, what one filter may return. */
  unread(): string[] {
    const ids = [...this.#runs].flatMap(([id, run]) => (run.kind === "unread" ? [id] : []));
    return ids.slice(0, 200);
  }

  /**
   * Takes what the server says about flow runs that were asked for. Those scheduled for later are due at their time minus
   * prefetch; one that is due now and was not returned (the poll was faster than the server's own commit, or a limit or a
   * pause holds it back) is asked for once more; all others are taken care of.
   */
  read(asked: readonly string[], flowRuns: readonly FlowRun[], now: BothClocks): void {
    this.forget(asked);
    for (const flowRun of flowRuns) {
      if (flowRun.state_type !== "SCHEDULED") continue;
      const at = this.#takeAt(flowRun, now);
      if (at > now.monotonicMs) this.#runs.set(flowRun.id, { kind: "due", at, last: false });
      else this.#runs.set(flowRun.id, { kind: "due", at: now.monotonicMs + retryAfterMs, last: true });
    }
  }

  /** Milliseconds until the next announced flow run is due, infinite if there is none. */
  dueInMs(now: number): number {
    let earliest = Number.POSITIVE_INFINITY;
    for (const run of this.#runs.values()) if (run.kind === "due") earliest = Math.min(earliest, run.at);
    return Math.max(0, earliest - now);
  }

  /** Called before a poll: those now due are its to find, and are read again if it should not. */
  beforePoll(now: number): void {
    for (const [id, run] of this.#runs) {
      if (run.kind !== "due" || run.at > now) continue;
      if (run.last) this.#runs.delete(id);
      else this.#runs.set(id, { kind: "unread" });
    }
  }

  /** Since when the returned flow runs are known. Those neither returned nor announced are forgotten: they are taken. */
  #remember(flowRuns: readonly FlowRun[], now: number): void {
    const ids = [...flowRuns.map(({ id }) => id), ...this.#runs.keys()];
    this.#knownSince = new Map(ids.map((id) => [id, this.#knownSince.get(id) ?? now]));
  }

  #isClaimed(flowRunId: string, now: number): boolean {
    return (this.#claimedAt.get(flowRunId) ?? Number.NEGATIVE_INFINITY) > now - staleMs;
  }

  /**
   * When this worker may take the flow run, on the monotonic clock: others come first for some time from when it is both
   * due and known. A flow run without a time is due.
   */
  #takeAt(flowRun: FlowRun, now: BothClocks): number {
    const { id, next_scheduled_start_time, expected_start_time } = flowRun;
    const dueAt = Date.parse(next_scheduled_start_time ?? expected_start_time ?? "") - this.prefetchMs;
    const due = Number.isNaN(dueAt) ? now.monotonicMs : now.monotonicMs + (dueAt - now.wallMs);
    const delayMs = this.order.delayMs(id);
    return delayMs === 0 ? due : Math.max(due, this.#knownSince.get(id) ?? now.monotonicMs) + delayMs;
  }
}
