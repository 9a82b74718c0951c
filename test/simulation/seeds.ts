// Runs seeds one after the other, and adds up what happened.
import { neverAborts } from "../../src/async/never-aborts.ts";
import { forgetListeners } from "./light-signals.ts";
import { runSeed } from "./world.ts";

/** A seed whose invariants were violated. */
export interface FailedSeed {
  readonly seed: number;
  readonly violations: readonly string[];
}

/** The sum of some seeds. */
export interface SeedsResult {
  seeds: number;
  faults: number;
  requests: number;
  /** The simulated time. */
  virtualMs: number;
  failed: FailedSeed[];
}

/** Returns the result of no seed. */
export function noSeeds(): SeedsResult {
  return { seeds: 0, faults: 0, requests: 0, virtualMs: 0, failed: [] };
}

/** Adds `added` to `sum`. */
export function addSeeds(sum: SeedsResult, added: SeedsResult): void {
  sum.seeds += added.seeds;
  sum.faults += added.faults;
  sum.requests += added.requests;
  sum.virtualMs += added.virtualMs;
  sum.failed.push(...added.failed);
}

/** Runs the seeds from `first` to `last`. An error that nobody caught counts as a violation. */
export async function runSeeds(first: number, last: number, print?: (line: string) => void): Promise<SeedsResult> {
  const sum = noSeeds();
  const uncaught: unknown[] = [];
  const onUncaught = (error: unknown): void => void uncaught.push(error);
  process.on("unhandledRejection", onUncaught);
  const { stackTraceLimit } = Error;
  // Stacks are expensive, and only the trace of one seed shows them.
  if (!print) Error.stackTraceLimit = 0;
  try {
    for (let seed = first; seed <= last; seed++) {
      const { violations, faultCount: faults, requestCount: requests, virtualMs } = await runSeed(seed, print);
      // Node.js reports uncaught errors before the next turn of its loop.
      await new Promise((resolve) => setImmediate(resolve));
      forgetListeners(neverAborts);
      violations.push(...uncaught.splice(0).map((error) => `nobody caught ${error}`));
      const failed = violations.length > 0 ? [{ seed, violations }] : [];
      addSeeds(sum, { seeds: 1, faults, requests, virtualMs, failed });
    }
    return sum;
  } finally {
    Error.stackTraceLimit = stackTraceLimit;
    process.off("unhandledRejection", onUncaught);
  }
}
