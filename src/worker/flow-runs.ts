// The flow runs of one worker in one table: expected, in flight, declined, or cleaned up.
import { monotonicMs } from "../async/clock.ts";
import type { RunHistory } from "../run/run-history.ts";
import type { RunRecord, StopReason } from "../run/run-record.ts";
import { type ClaimTiming, ExpectedRuns } from "./expected-runs.ts";
import { isInFlight, KnownRuns, sinceOf, type TakenRun } from "./known-run.ts";

/** How long after the end of a flow run an event may still say how it ended. */
const settleMs = 15_000;

/** How long the server may ask again for a cleanup whose acknowledgement it did not receive. */
const cleanedUpMs = 3_600_000;

/** The timing of a worker that is alone in its pool. */
const alone: ClaimTiming = { delayMs: () => 0, observe: () => undefined };

/** The flow runs of one worker, by id. */
export class FlowRuns {
  readonly #known: KnownRuns;
  /** The flow runs that this worker has not taken yet. */
  readonly expected: ExpectedRuns;

  constructor(
    prefetchMs: number,
    private readonly history: RunHistory,
    timing: ClaimTiming = alone,
  ) {
    this.#known = new KnownRuns((run) => history.settle(run));
    this.expected = new ExpectedRuns(this.#known, prefetchMs, timing);
  }

  /** Returns the records in flight, oldest first: from before the claim until the hooks have run. */
  list(): RunRecord[] {
    return [...this.#known.values()].filter(isInFlight).map(({ run }) => run);
  }

  /** Returns whether the flow run is in flight. */
  has(flowRunId: string): boolean {
    return this.#findInFlight(flowRunId) !== undefined;
  }

  /** Returns the record of a flow run that is in flight or has just ended. */
  find(flowRunId: string): RunRecord | undefined {
    const known = this.#known.get(flowRunId);
    return known?.kind === "taken" ? known.run : undefined;
  }

  /**
   * Takes a flow run and executes it. `execute` never rejects; it returns whether the flow run was claimed. `onLeft` is
   * called afterwards. `isChange` is false when the server declined the claim and had declined the one before too.
   */
  take(run: RunRecord, execute: (run: RunRecord) => Promise<boolean>, onLeft: (isChange: boolean) => void): void {
    this.settle();
    const { id } = run.flowRun;
    const before = this.#known.get(id);
    const taken: TakenRun = { kind: "taken", run, done: Promise.resolve(), leftAt: null, isScheduledAgain: false };
    // A key that is set again keeps its old place, and the table is listed by age.
    this.#known.delete(id);
    this.#known.set(id, taken);
    taken.done = execute(run).then((isClaimed) => {
      if (isClaimed) this.history.recordLeft(run);
      if (isClaimed) taken.leftAt = monotonicMs();
      else this.#known.set(id, { kind: "declined", since: sinceOf(before) ?? run.takenAt });
      if (taken.isScheduledAgain) this.expected.announce(id, monotonicMs());
      onLeft(isClaimed || before?.kind !== "declined");
    });
  }

  /** Stops one flow run; does nothing if it is not in flight. The first reason counts. */
  stop(flowRunId: string, reason: StopReason): void {
    this.#findInFlight(flowRunId)?.run.stop.abort(reason);
  }

  /** Stops all flow runs in flight. */
  stopAll(reason: StopReason): void {
    for (const run of this.list()) run.stop.abort(reason);
  }

  /** Resolves when the flow run is no longer in flight. */
  async left(flowRunId: string): Promise<void> {
    await this.#findInFlight(flowRunId)?.done;
  }

  /** Resolves when no flow run is in flight. */
  async drained(): Promise<void> {
    for (;;) {
      const inFlight = [...this.#known.values()].filter(isInFlight);
      if (inFlight.length === 0) return;
      await Promise.all(inFlight.map(({ done }) => done));
    }
  }

  /** Records that the process of this flow run was ended here because the server asked for a cleanup. */
  markCleanedUp(flowRunId: string): void {
    const known = this.#known.get(flowRunId);
    if (isInFlight(known)) return;
    this.#known.set(flowRunId, { kind: "cleaned up", at: monotonicMs() });
  }

  /** Returns whether `markCleanedUp` was the last thing that happened to this flow run. */
  isCleanedUp(flowRunId: string): boolean {
    return this.#known.get(flowRunId)?.kind === "cleaned up";
  }

  /** Forgets flow runs that ended long enough ago, and counts each by its last known state. Forgets old cleanups. */
  settle(): void {
    const now = monotonicMs();
    for (const [id, known] of this.#known) {
      if (known.kind === "cleaned up" && known.at < now - cleanedUpMs) this.#known.delete(id);
      if (known.kind !== "taken" || known.leftAt === null || known.leftAt > now - settleMs) continue;
      this.history.settle(known.run);
      this.#known.delete(id);
    }
  }

  #findInFlight(flowRunId: string): TakenRun | undefined {
    const known = this.#known.get(flowRunId);
    return isInFlight(known) ? known : undefined;
  }
}
