// Every flow run that a worker knows, in one table: announced by the server, taken, declined, or cleaned up.
import { setMaxListeners } from "node:events";
import type { FlowRun, ScheduledFlowRun, WorkPool } from "../api/wire.ts";
import { type BothClocks, monotonicMs } from "../async/clock.ts";
import type { Logger } from "../logger.ts";
import type { RunHistory } from "../run/run-history.ts";
import { createRunRecord, type RunRecord, type StopReason } from "../run/run-record.ts";
import type { ClaimOrder } from "./claim-order.ts";

/** How soon a due flow run is asked for again that a poll did not return. */
const retryAfterMs = 300;
/** Beyond this the regular poll has to do. An id and a time are some 100 bytes. */
const maxKnown = 10_000;
/** A poll that is answered this soon after the claim of a flow run may have been read before the claim. */
const staleMs = 2_000;
/** How long after a flow run has left the worker's hands an event may still tell how it ended. */
const settleMs = 15_000;
/** What one filter of the server may return. */
const maxPerLookUp = 200;

/**
 * What is known of one flow run. Times are on the monotonic clock. `since`: when the worker first heard of it, by an event
 * or a poll; from then on the flow run is left to workers that come first.
 */
type Known =
  /** An event tells of it. No poll has returned it, and its time is not known. */
  | { readonly kind: "announced"; readonly since: number }
  /** It is to be polled for at a time. `isLastTry`: if the poll does not return it either, it is forgotten. */
  | { readonly kind: "due"; readonly since: number; readonly at: number; readonly isLastTry: boolean }
  /** A poll has returned it to be taken now. There may have been no slot for it. */
  | { readonly kind: "returned"; readonly since: number }
  /** It was taken and could not be claimed. */
  | { readonly kind: "declined"; readonly since: number }
  /** An event says that another worker has claimed it. */
  | { readonly kind: "claimed elsewhere"; readonly at: number }
  /** It is in the worker's hands, or has left them at `leftAt`. */
  | { readonly kind: "taken"; readonly run: RunRecord; done: Promise<void>; leftAt: number | null }
  /** Its process was ended because the server asked for it. */
  | { readonly kind: "cleaned up" };

/** How long a flow run is left to other workers, and how long they took to claim one. */
export type Order = Pick<ClaimOrder, "delayMs" | "observe">;

/** The order of a worker that is alone. */
const alone: Order = { delayMs: () => 0, observe: () => undefined };

/** The flow runs of one worker, by id. */
export class FlowRuns {
  readonly #known = new Map<string, Known>();

  constructor(
    private readonly prefetchMs: number,
    private readonly history: RunHistory,
    private readonly order: Order = alone,
  ) {}

  /** What is in the worker's hands, oldest first: from before the claim until the hooks have run. */
  list(): RunRecord[] {
    return [...this.#known.values()].flatMap((known) => (isInFlight(known) ? [known.run] : []));
  }

  has(flowRunId: string): boolean {
    return this.#inFlight(flowRunId) !== undefined;
  }

  /** Whether anything is known of this flow run: an event or an earlier poll told of it, or the worker has had it. */
  isKnown(flowRunId: string): boolean {
    return this.#known.has(flowRunId);
  }

  /** The record of a flow run in the worker's hands, or of one that has just left them. */
  find(flowRunId: string): RunRecord | undefined {
    const known = this.#known.get(flowRunId);
    return known?.kind === "taken" ? known.run : undefined;
  }

  /**
   * Takes a flow run into the worker's hands. `execute` never rejects; it returns whether the flow run was claimed.
   * `onLeft` is called afterwards, with whether that is other than the last time.
   */
  take(
    given: { flowRun: FlowRun; workPool: WorkPool; slot: Disposable; log: Logger },
    execute: (run: RunRecord) => Promise<boolean>,
    onLeft: (isNews: boolean) => void,
  ): void {
    this.#settle();
    const { id } = given.flowRun;
    const before = this.#known.get(id);
    if (before?.kind === "taken") this.history.settle(before.run);
    const stop = new AbortController();
    setMaxListeners(0, stop.signal);
    const run = createRunRecord({ ...given, stop, takenAt: monotonicMs() });
    const taken: Known = { kind: "taken", run, done: Promise.resolve(), leftAt: null };
    this.#known.delete(id);
    this.#known.set(id, taken);
    taken.done = execute(run).then((isClaimed) => {
      if (isClaimed) this.history.noteLeft(run);
      if (isClaimed) taken.leftAt = monotonicMs();
      else this.#known.set(id, { kind: "declined", since: sinceOf(before) ?? run.takenAt });
      onLeft(isClaimed || before?.kind !== "declined");
    });
  }

  /** Stops one flow run; nothing happens if it is not in flight. The first reason counts. */
  stop(flowRunId: string, reason: StopReason): void {
    this.#inFlight(flowRunId)?.run.stop.abort(reason);
  }

  /** Stops all that are in flight. */
  stopAll(reason: StopReason): void {
    for (const run of this.list()) run.stop.abort(reason);
  }

  /** Resolves when the flow run is no longer in flight. */
  async left(flowRunId: string): Promise<void> {
    await this.#inFlight(flowRunId)?.done;
  }

  /** Resolves when none is in flight. */
  async drained(): Promise<void> {
    for (;;) {
      const inFlight = [...this.#known.values()].filter(isInFlight);
      if (inFlight.length === 0) return;
      await Promise.all(inFlight.map(({ done }) => done));
    }
  }

  /** Declined flow runs go last: polls return the oldest first, and with few slots the others would never have a turn. */
  declinedLast(flowRuns: readonly FlowRun[]): FlowRun[] {
    const isDeclined = ({ id }: FlowRun): boolean => this.#known.get(id)?.kind === "declined";
    return [...flowRuns.filter((flowRun) => !isDeclined(flowRun)), ...flowRuns.filter(isDeclined)];
  }

  /** An event says that this flow run is scheduled. */
  announce(flowRunId: string, now: number): void {
    const known = this.#known.get(flowRunId);
    if (known?.kind === "taken" && isInFlight(known)) return;
    if (!known && this.#known.size >= maxKnown) return;
    const since = sinceOf(known) ?? now;
    const at = since + this.order.delayMs(flowRunId);
    this.#known.set(flowRunId, at > now ? { kind: "due", since, at, isLastTry: false } : { kind: "announced", since });
  }

  /** An event says that somebody has claimed this flow run: nothing is to be asked about it. */
  noteClaimed(flowRunId: string, now: number): void {
    const known = this.#known.get(flowRunId);
    if (known?.kind === "taken") return;
    const since = sinceOf(known);
    if (since !== undefined) this.order.observe(now - since);
    this.#known.set(flowRunId, { kind: "claimed elsewhere", at: now });
  }

  /** Whether there is an announced flow run to poll for now. */
  isDue(now: number): boolean {
    for (const known of this.#known.values()) {
      if (known.kind === "announced" || (known.kind === "due" && known.at <= now)) return true;
    }
    return false;
  }

  /**
   * Returns those of a poll's flow runs that are to be taken now. Keeps the others for their time minus prefetch, or for
   * the time until which they are left to other workers, whichever is later. Leaves out what has just been claimed.
   */
  takeDue(returned: readonly ScheduledFlowRun[], now: BothClocks): FlowRun[] {
    const flowRuns = returned.map(({ flow_run }) => flow_run);
    this.#forgetOthers(new Set(flowRuns.map(({ id }) => id)), now.monotonicMs);
    return flowRuns.filter((flowRun) => {
      const known = this.#known.get(flowRun.id);
      if (known?.kind === "claimed elsewhere") return false;
      if (known && isInFlight(known)) return true;
      const since = sinceOf(known) ?? now.monotonicMs;
      const at = this.#takeAt(flowRun, since, now);
      const isLater = at > now.monotonicMs;
      if (isLater) this.#known.set(flowRun.id, { kind: "due", since, at, isLastTry: false });
      else if (known?.kind !== "declined") this.#known.set(flowRun.id, { kind: "returned", since });
      return !isLater;
    });
  }

  /** Ids of announced flow runs that no poll has returned, as many as one look-up takes. */
  toLookUp(): string[] {
    const ids = [...this.#known].flatMap(([id, { kind }]) => (kind === "announced" ? [id] : []));
    return ids.slice(0, maxPerLookUp);
  }

  /**
   * Takes the server's answer about flow runs that were looked up. Those scheduled for later are due at their time minus
   * prefetch. One that is due now is polled for once more: the poll may have been faster than the server's commit, or a
   * limit or a pause holds the flow run back. All others are in other hands.
   */
  noteLookedUp(asked: readonly string[], flowRuns: readonly FlowRun[], now: BothClocks): void {
    const announcedSince = new Map(asked.map((id) => [id, sinceOf(this.#known.get(id))]));
    for (const id of asked) if (this.#known.get(id)?.kind === "announced") this.#known.delete(id);
    for (const flowRun of flowRuns) {
      if (flowRun.state_type !== "SCHEDULED" || this.has(flowRun.id)) continue;
      const since = announcedSince.get(flowRun.id) ?? now.monotonicMs;
      const at = this.#takeAt(flowRun, since, now);
      const isLater = at > now.monotonicMs;
      const due = isLater ? { at, isLastTry: false } : { at: now.monotonicMs + retryAfterMs, isLastTry: true };
      this.#known.set(flowRun.id, { kind: "due", since, ...due });
    }
  }

  /** Milliseconds until the next announced flow run is due; infinite if there is none. */
  dueInMs(now: number): number {
    let earliest = Number.POSITIVE_INFINITY;
    for (const known of this.#known.values()) if (known.kind === "due") earliest = Math.min(earliest, known.at);
    return Math.max(0, earliest - now);
  }

  /** Called before a poll: those due now are for the poll to find, and are looked up again if it does not. */
  beforePoll(now: number): void {
    for (const [id, known] of this.#known) {
      if (known.kind !== "due" || known.at > now) continue;
      if (known.isLastTry) this.#known.delete(id);
      else this.#known.set(id, { kind: "announced", since: known.since });
    }
  }

  /** The process of this flow run was ended here because the server asked for it. */
  noteCleanedUp(flowRunId: string): void {
    const known = this.#known.get(flowRunId);
    if (known && isInFlight(known)) return;
    if (known?.kind === "taken") this.history.settle(known.run);
    this.#known.set(flowRunId, { kind: "cleaned up" });
  }

  isCleanedUp(flowRunId: string): boolean {
    return this.#known.get(flowRunId)?.kind === "cleaned up";
  }

  /** Forgets flow runs that have left long enough ago; their outcome is counted as far as it is known. */
  settle(): void {
    this.#settle();
  }

  #settle(): void {
    const before = monotonicMs() - settleMs;
    for (const [id, known] of this.#known) {
      if (known.kind !== "taken" || known.leftAt === null || known.leftAt > before) continue;
      this.history.settle(known.run);
      this.#known.delete(id);
    }
  }

  /** Forgets what is not scheduled any more, because a poll did not return it, and claims that are long ago. */
  #forgetOthers(returned: ReadonlySet<string>, now: number): void {
    for (const [id, known] of this.#known) {
      const isGone = (known.kind === "returned" || known.kind === "declined") && !returned.has(id);
      const isLongAgo = known.kind === "claimed elsewhere" && known.at <= now - staleMs;
      if (isGone || isLongAgo) this.#known.delete(id);
    }
  }

  #inFlight(flowRunId: string): (Known & { kind: "taken" }) | undefined {
    const known = this.#known.get(flowRunId);
    return known && isInFlight(known) ? known : undefined;
  }

  /**
   * When this worker may take the flow run, on the monotonic clock: others come first for some time from when it is both
   * due and known. A flow run without a time is due.
   */
  #takeAt(flowRun: FlowRun, since: number, now: BothClocks): number {
    const { id, next_scheduled_start_time, expected_start_time } = flowRun;
    const dueAt = Date.parse(next_scheduled_start_time ?? expected_start_time ?? "") - this.prefetchMs;
    const due = Number.isNaN(dueAt) ? now.monotonicMs : now.monotonicMs + (dueAt - now.wallMs);
    const delayMs = this.order.delayMs(id);
    return delayMs === 0 ? due : Math.max(due, since) + delayMs;
  }
}

function sinceOf(known: Known | undefined): number | undefined {
  return known && "since" in known ? known.since : undefined;
}

function isInFlight(known: Known): known is Known & { kind: "taken" } {
  return known.kind === "taken" && known.leftAt === null;
}
