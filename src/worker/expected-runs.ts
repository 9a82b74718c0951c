// Which flow runs a worker expects to claim, and when: from the event that announces one until a poll returns it.
import type { FlowRun, ScheduledFlowRun } from "../api/wire.ts";
import type { BothClocks } from "../async/clock.ts";
import type { ClaimOrder } from "./claim-order.ts";
import { isInFlight, type KnownRuns, sinceOf } from "./known-run.ts";

/** How soon the worker polls again for a due flow run that a poll did not return. */
const retryAfterMs = 300;
/** The limit of the table. An id and a time take some 100 bytes. The regular poll finds the flow runs beyond the limit. */
const maxKnown = 10_000;
/** The response of a poll can be older than a claim. A claim made elsewhere counts for this time. */
const staleMs = 2_000;
/** The most flow runs that the server returns for one filter. */
const maxPerLookUp = 200;

/** How long a flow run is left to workers with a better rank, and what is learned from their claims. */
export type ClaimTiming = Pick<ClaimOrder, "delayMs" | "observe">;

/** The part of a worker's table that says which flow runs to poll for, and which of the returned ones to claim. */
export class ExpectedRuns {
  /** `known` is the table of the worker, shared with FlowRuns. */
  constructor(
    private readonly known: KnownRuns,
    private readonly prefetchMs: number,
    private readonly timing: ClaimTiming,
  ) {}

  /** Returns whether an event or an earlier poll named this flow run, or the worker took it. */
  isKnown(flowRunId: string): boolean {
    return this.known.has(flowRunId);
  }

  /**
   * Adds a flow run because an event says that it is scheduled. `now` is on the monotonic clock, `occurredAt` is the time of
   * the event (ms since 1970). For a flow run in flight, only an event after its claim counts.
   */
  announce(flowRunId: string, now: number, occurredAt: number = Number.POSITIVE_INFINITY): void {
    const known = this.known.get(flowRunId);
    if (isInFlight(known)) {
      known.isScheduledAgain ||= occurredAt > (known.run.times.claimed ?? Number.POSITIVE_INFINITY);
      return;
    }
    if (!known && this.known.size >= maxKnown) return;
    const since = sinceOf(known) ?? now;
    const at = since + this.timing.delayMs(flowRunId);
    this.known.set(flowRunId, at > now ? { kind: "due", since, at, isLastTry: false } : { kind: "announced", since });
  }

  /** Records that an event says that another worker claimed this flow run. The worker does not poll for it. */
  markClaimedElsewhere(flowRunId: string, now: number): void {
    const known = this.known.get(flowRunId);
    if (known?.kind === "taken" || (!known && this.known.size >= maxKnown)) return;
    const since = sinceOf(known);
    if (since !== undefined) this.timing.observe(now - since);
    this.known.set(flowRunId, { kind: "claimed elsewhere", at: now });
  }

  /** Returns whether there is an announced flow run to poll for now. */
  hasDue(now: number): boolean {
    for (const known of this.known.values()) {
      if (known.kind === "announced" || (known.kind === "due" && known.at <= now)) return true;
    }
    return false;
  }

  /** Returns the milliseconds until the next announced flow run is due; infinite if there is none. */
  nextDueInMs(now: number): number {
    let earliest = Number.POSITIVE_INFINITY;
    for (const known of this.known.values()) if (known.kind === "due") earliest = Math.min(earliest, known.at);
    return Math.max(0, earliest - now);
  }

  /** Call this before a poll. A due flow run that the poll does not return is looked up, or forgotten on its last try. */
  beforePoll(now: number): void {
    for (const [id, known] of this.known) {
      if (known.kind !== "due" || known.at > now) continue;
      if (known.isLastTry) this.known.delete(id);
      else this.known.set(id, { kind: "announced", since: known.since });
    }
  }

  /**
   * Returns the flow runs of a poll that can be claimed now. The others are kept until their time minus prefetch, or until
   * the turn of this worker, whichever is later. Flow runs that another worker has just claimed are left out.
   */
  selectDue(returned: readonly ScheduledFlowRun[], now: BothClocks): FlowRun[] {
    const flowRuns = returned.map(({ flow_run }) => flow_run);
    this.#forgetOthers(new Set(flowRuns.map(({ id }) => id)), now.monotonicMs);
    return flowRuns.filter((flowRun) => {
      const known = this.known.get(flowRun.id);
      if (known?.kind === "claimed elsewhere") return false;
      if (isInFlight(known)) return true;
      const since = sinceOf(known) ?? now.monotonicMs;
      const at = this.#claimAt(flowRun, since, now);
      const isLater = at > now.monotonicMs;
      if (isLater) this.known.set(flowRun.id, { kind: "due", since, at, isLastTry: false });
      else if (known?.kind !== "declined") this.known.set(flowRun.id, { kind: "returned", since });
      return !isLater;
    });
  }

  /**
   * Returns the flow runs with the declined ones last. A poll returns the oldest first, so declined ones come first each
   * time. With few slots, the others would never be claimed.
   */
  sortDeclinedLast(flowRuns: readonly FlowRun[]): FlowRun[] {
    const isDeclined = ({ id }: FlowRun): boolean => this.known.get(id)?.kind === "declined";
    return [...flowRuns.filter((flowRun) => !isDeclined(flowRun)), ...flowRuns.filter(isDeclined)];
  }

  /** Returns the ids of announced flow runs that no poll returned, at most as many as one request can name. */
  idsToLookUp(): string[] {
    const ids = [...this.known].flatMap(([id, { kind }]) => (kind === "announced" ? [id] : []));
    return ids.slice(0, maxPerLookUp);
  }

  /**
   * Records the server's response about the flow runs `ids`. One that is scheduled for later is due at its time minus
   * prefetch. One that is due now is polled for once more: the poll may have run before the server's commit, or a limit or
   * a pause holds the flow run back. All others are forgotten because another worker has them or they have ended.
   */
  addLookedUp(ids: readonly string[], flowRuns: readonly FlowRun[], now: BothClocks): void {
    const announcedSince = new Map(ids.map((id) => [id, sinceOf(this.known.get(id))]));
    for (const id of ids) if (this.known.get(id)?.kind === "announced") this.known.delete(id);
    for (const flowRun of flowRuns) {
      if (flowRun.state_type !== "SCHEDULED" || isInFlight(this.known.get(flowRun.id))) continue;
      const since = announcedSince.get(flowRun.id) ?? now.monotonicMs;
      const at = this.#claimAt(flowRun, since, now);
      const isLater = at > now.monotonicMs;
      const due = isLater ? { at, isLastTry: false } : { at: now.monotonicMs + retryAfterMs, isLastTry: true };
      this.known.set(flowRun.id, { kind: "due", since, ...due });
    }
  }

  /** Forgets flow runs that are no longer scheduled, because a poll did not return them, and old claims of others. */
  #forgetOthers(returned: ReadonlySet<string>, now: number): void {
    for (const [id, known] of this.known) {
      const isGone = (known.kind === "returned" || known.kind === "declined") && !returned.has(id);
      const isLongAgo = known.kind === "claimed elsewhere" && known.at <= now - staleMs;
      if (isGone || isLongAgo) this.known.delete(id);
    }
  }

  /**
   * Returns when this worker may claim the flow run, on the monotonic clock. The delay for other workers begins when the
   * flow run is both due and known. A flow run without a time is due at once.
   */
  #claimAt(flowRun: FlowRun, since: number, now: BothClocks): number {
    const { id, next_scheduled_start_time, expected_start_time } = flowRun;
    const dueAt = Date.parse(next_scheduled_start_time ?? expected_start_time ?? "") - this.prefetchMs;
    const due = Number.isNaN(dueAt) ? now.monotonicMs : now.monotonicMs + (dueAt - now.wallMs);
    const delayMs = this.timing.delayMs(id);
    return delayMs === 0 ? due : Math.max(due, since) + delayMs;
  }
}
