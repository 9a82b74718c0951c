// What a worker knows of one flow run, and the table of all flow runs that it knows.
import type { RunRecord } from "../run/run-record.ts";

/**
 * What is known of one flow run. Times are on the monotonic clock. `since` is the time at which an event or a poll first
 * named the flow run. From then on, workers with a better rank may claim it first.
 */
export type KnownRun =
  /** An event announced it. No poll has returned it, and its scheduled time is not known. */
  | { readonly kind: "announced"; readonly since: number }
  /** The worker polls for it at the time `at`. If `isLastTry` and that poll does not return it, it is forgotten. */
  | { readonly kind: "due"; readonly since: number; readonly at: number; readonly isLastTry: boolean }
  /** A poll returned it and it can be claimed now, but there may have been no free slot. */
  | { readonly kind: "returned"; readonly since: number }
  /** The server declined this worker's claim. */
  | { readonly kind: "declined"; readonly since: number }
  /** An event says that another worker claimed it. */
  | { readonly kind: "claimed elsewhere"; readonly at: number }
  /** This worker executes it, or stopped doing so at `leftAt`. */
  | TakenRun
  /** This worker ended its process because the server asked for a cleanup. */
  | { readonly kind: "cleaned up"; readonly at: number };

/** A flow run that this worker took. `done` resolves when the worker has finished with it, and never rejects. */
export interface TakenRun {
  readonly kind: "taken";
  readonly run: RunRecord;
  done: Promise<void>;
  leftAt: number | null;
  /** An event says that it was scheduled again after this worker claimed it. It can be taken when `done` resolves. */
  isScheduledAgain: boolean;
}

/** All flow runs that one worker knows, by id. */
export class KnownRuns extends Map<string, KnownRun> {
  /** `onReplaced` gets the record of each taken flow run whose entry is replaced. */
  constructor(private readonly onReplaced: (run: RunRecord) => void) {
    super();
  }

  override set(flowRunId: string, known: KnownRun): this {
    const before = this.get(flowRunId);
    if (before?.kind === "taken" && before !== known) this.onReplaced(before.run);
    return super.set(flowRunId, known);
  }
}

/** Returns the time at which the flow run was first named, or undefined if that time is not kept. */
export function sinceOf(known: KnownRun | undefined): number | undefined {
  return known && "since" in known ? known.since : undefined;
}

/** Returns whether the worker executes the flow run now: from before the claim until the hooks have run. */
export function isInFlight(known: KnownRun | undefined): known is TakenRun & { leftAt: null } {
  return known?.kind === "taken" && known.leftAt === null;
}
