// Counts and remembers the flow runs of one worker for the status page and the metrics. The worker does not depend on it.
import type { State } from "../api/wire.ts";
import { wallClockMs } from "../async/clock.ts";
import { type LatestState, type OutcomeType, parseTime, type RunRecord, type RunTimes } from "./run-record.ts";
import { isFinal } from "./states.ts";

/** How many ended flow runs are remembered, some 300 bytes each. */
const maxEnded = 50;
/** How many latencies of each kind are remembered. */
const maxLatencies = 200;

/** How long a flow run waited from when it was due (`ms`), and when the wait was over (`at`, ms since 1970). */
export interface LatencySample {
  flowRunName: string;
  at: number;
  ms: number;
}

/** `claim`: the time from due until Pending was accepted. `running`: the time from due until Running. */
export type LatencyKind = "claim" | "running";

/** A state from a response, an event or the engine. The engine sends no timestamp. */
export type ObservedState = Pick<State, "type" | "name" | "timestamp">;

/** What is remembered of an ended flow run. The flow run itself is not kept, because its parameters can be large. */
export interface RunSummary {
  readonly id: string;
  readonly name: string;
  readonly flowName: string | null;
  readonly deploymentName: string | null;
  readonly state: Readonly<LatestState>;
  readonly times: Readonly<RunTimes>;
}

/** Returns the summary of a flow run. It shares state and times with the record, so later changes show. */
export function summarize({ flowRun: { id, name }, flow, deployment, state, times }: RunRecord): RunSummary {
  return { id, name, flowName: flow?.name ?? null, deploymentName: deployment?.name ?? null, state, times };
}

/** Updates the records of flow runs, and counts them. `now` returns ms since 1970. */
export class RunHistory {
  /** Flow runs claimed so far. */
  claimedCount = 0;
  readonly latencies: Readonly<Record<LatencyKind, LatencySample[]>> = { claim: [], running: [] };
  /** The last flow runs that this worker finished with, oldest first. */
  readonly ended: RunSummary[] = [];
  /**
   * How many flow runs this worker finished with, by their last state. SCHEDULED runs again, PAUSED can be resumed, and all
   * others are final. A flow run whose last state is not known is counted later, because a count must never fall.
   */
  readonly endedByType = new Map<OutcomeType, number>();
  /** Called with each latency as it becomes known. */
  onLatency: (kind: LatencyKind, ms: number) => void = () => {};

  constructor(private readonly now: () => number = wallClockMs) {}

  /** Records that the claim was accepted. `pending` is the accepted state. */
  recordClaim(run: RunRecord, pending: ObservedState): void {
    const at = parseTime(pending.timestamp) ?? this.now();
    run.phase = "claimed";
    run.times.claimed = at;
    run.times.due ??= at;
    Object.assign(run.state, { type: pending.type, name: pending.name, at });
    this.claimedCount++;
    this.#sample("claim", run, at);
  }

  /** Records a state. A state that is older than the known one changes nothing. */
  recordState(run: RunRecord, state: ObservedState | null): void {
    if (!state || run.times.claimed === null) return;
    const at = parseTime(state.timestamp);
    if (state.type === "RUNNING" && at !== null) this.#recordRunning(run, at);
    if (at !== null && at < run.state.at) return;
    const hasLeft = run.phase === "left";
    const hasEnd = isFinalType(run.state.type);
    if (hasEnd && !(isFinal(state) && at !== null)) return;
    // An unfinished state after the end is from before the end, or belongs to another worker's attempt.
    if (hasLeft && isUnfinished(state.type)) return;
    Object.assign(run.state, { type: state.type, name: state.name, at: at ?? run.state.at });
    if (isFinal(state) && at !== null) run.times.ended = at;
    if (isFinal(state) && hasLeft) this.settle(run);
  }

  /** Records that the worker has finished with a claimed flow run. The caller settles it later: states may still arrive. */
  recordLeft(run: RunRecord): void {
    run.phase = "left";
    run.times.ended ??= this.now();
    if (isUnfinished(run.state.type)) Object.assign(run.state, { type: "UNKNOWN", name: "unknown" });
    this.ended.push(summarize(run));
    if (this.ended.length > maxEnded) this.ended.shift();
    if (isFinalType(run.state.type)) this.settle(run);
  }

  /** Counts an ended flow run by its state. Only the first call counts. */
  settle(run: RunRecord): void {
    if (run.isSettled || run.times.claimed === null) return;
    run.isSettled = true;
    const { type } = run.state;
    this.endedByType.set(type, (this.endedByType.get(type) ?? 0) + 1);
  }

  /** Records Running if it is between the claim and the end. Otherwise it belongs to another attempt. */
  #recordRunning(run: RunRecord, at: number): void {
    const { times } = run;
    if (times.running !== null || at < (times.claimed ?? at) || at > (times.ended ?? at)) return;
    times.running = at;
    this.#sample("running", run, at);
  }

  #sample(kind: LatencyKind, { flowRun, times }: RunRecord, at: number): void {
    // A flow run that is claimed before it is due, because of prefetch, has not waited.
    const ms = Math.max(0, at - (times.due ?? at));
    const samples = this.latencies[kind];
    samples.push({ flowRunName: flowRun.name, at, ms });
    if (samples.length > maxLatencies) samples.shift();
    this.onLatency(kind, ms);
  }
}

/** Returns whether nobody ends a flow run in this state on purpose. How such a flow run ended is not known. */
function isUnfinished(type: OutcomeType): boolean {
  return type === "PENDING" || type === "RUNNING" || type === "CANCELLING";
}

function isFinalType(type: OutcomeType): boolean {
  return type !== "UNKNOWN" && isFinal({ type });
}
