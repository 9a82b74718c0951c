// Every flow run that a worker knows, in one table: announced by the server, taken, declined, or cleaned up.
import { setMaxListeners } from "node:events";
import type { FlowRun, ScheduledFlowRun, WorkPool } from "../api/wire.ts";
import { type BothClocks, monotonicMs } from "../async/clock.ts";
import type { Logger } from "../logger.ts";
import type { RunHistory } from "../run/run-history.ts";
import { createRunRecord, type RunRecord, type StopReason } from "../run/run-record.ts";

/** How soon a due flow run is asked for again that a poll did not return. */
const retryAfterMs = 300;
/** Beyond this the regular poll has to do. An id and a time are some 100 bytes. */
const maxKnown = 10_000;
/** How long after a flow run has left the worker's hands an event may still tell how it ended. */
const settleMs = 15_000;
/** What one filter of the server may return. */
const maxPerLookUp = 200;

/** What is known of one flow run. Times are on the monotonic clock. */
type Known =
  /** An event tells of it. No poll has returned it, and its time is not known. */
  | { readonly kind: "announced" }
  /** It is to be polled for at a time. `isLastTry`: if the poll does not return it either, it is forgotten. */
  | { readonly kind: "due"; readonly at: number; readonly isLastTry: boolean }
  /** A poll has returned it and it could not be claimed. */
  | { readonly kind: "declined" }
  /** It is in the worker's hands, or has left them `leftAt`. */
  | { readonly kind: "taken"; readonly run: RunRecord; done: Promise<void>; leftAt: number | null }
  /** Its process was ended because the server asked for it. */
  | { readonly kind: "cleaned up" };

/** The flow runs of one worker, by id. */
export class FlowRuns {
  readonly #known = new Map<string, Known>();

  constructor(
    private readonly prefetchMs: number,
    private readonly history: RunHistory,
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
      else this.#known.set(id, { kind: "declined" });
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
    const returned = new Set(flowRuns.map(({ id }) => id));
    for (const [id, { kind }] of this.#known) if (kind === "declined" && !returned.has(id)) this.#known.delete(id);
    const isDeclined = ({ id }: FlowRun): boolean => this.#known.get(id)?.kind === "declined";
    return [...flowRuns.filter((flowRun) => !isDeclined(flowRun)), ...flowRuns.filter(isDeclined)];
  }

  /** An event says that this flow run is scheduled. */
  announce(flowRunId: string): void {
    if (!this.has(flowRunId) && this.#known.size < maxKnown) this.#known.set(flowRunId, { kind: "announced" });
  }

  /** Returns the flow runs of a poll that are to start now, and keeps the others for their time minus prefetch. */
  keepLater(returned: readonly ScheduledFlowRun[], now: BothClocks): FlowRun[] {
    const flowRuns = returned.map(({ flow_run }) => flow_run);
    const later = flowRuns.filter((flowRun) => this.#dueAt(flowRun, now) > now.monotonicMs);
    this.#forgetAnnounced(flowRuns.map(({ id }) => id));
    this.noteLookedUp([], later, now);
    return flowRuns.filter((flowRun) => !later.includes(flowRun));
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
    this.#forgetAnnounced(asked);
    for (const flowRun of flowRuns) {
      if (flowRun.state_type !== "SCHEDULED" || this.has(flowRun.id)) continue;
      const at = this.#dueAt(flowRun, now);
      const isLater = at > now.monotonicMs;
      const due = isLater ? { at, isLastTry: false } : { at: now.monotonicMs + retryAfterMs, isLastTry: true };
      this.#known.set(flowRun.id, { kind: "due", ...due });
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
      else this.#known.set(id, { kind: "announced" });
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

  #forgetAnnounced(ids: readonly string[]): void {
    for (const id of ids) {
      const kind = this.#known.get(id)?.kind;
      if (kind === "announced" || kind === "due") this.#known.delete(id);
    }
  }

  #inFlight(flowRunId: string): (Known & { kind: "taken" }) | undefined {
    const known = this.#known.get(flowRunId);
    return known && isInFlight(known) ? known : undefined;
  }

  /** On the monotonic clock. NaN without a time, which is not later than anything. */
  #dueAt({ next_scheduled_start_time, expected_start_time }: FlowRun, now: BothClocks): number {
    const dueAt = Date.parse(next_scheduled_start_time ?? expected_start_time ?? "") - this.prefetchMs;
    return now.monotonicMs + (dueAt - now.wallMs);
  }
}

function isInFlight(known: Known): known is Known & { kind: "taken" } {
  return known.kind === "taken" && known.leftAt === null;
}
