// What became of the flow runs of one worker, for those who look on. Nothing that the worker does depends on it.
import type { State } from "../api/wire.ts";
import { wallClockMs } from "../async/clock.ts";
import { type LatestState, type OutcomeType, parseTime, type RunRecord, type RunTimes } from "./run-record.ts";
import { isFinal } from "./states.ts";

/** How many flow runs that have left are remembered, some 300 bytes each. */
const maxEnded = 50;
/** How many latencies of each kind are remembered. */
const maxLatencies = 200;

/** How long a flow run waited since it was due (ms), and when the wait was over (ms since 1970). */
export interface LatencySample {
  flowRunName: string;
  at: number;
  ms: number;
}

/** `claim`: from due until Pending was accepted. `running`: from due until Running. */
export type LatencyKind = "claim" | "running";

/** A state as the server, an event or the engine tells it. The engine tells no time. */
export type ObservedState = Pick<State, "type" | "name" | "timestamp">;

/** What is remembered of a flow run that has left: its parameters may be half a megabyte. */
export interface RunSummary {
  readonly id: string;
  readonly name: string;
  readonly flowName: string | null;
  readonly deploymentName: string | null;
  readonly state: Readonly<LatestState>;
  readonly times: Readonly<RunTimes>;
}

/** The summary of a flow run. State and times stay those of the record. */
export function summarize({ flowRun: { id, name }, flow, deployment, state, times }: RunRecord): RunSummary {
  return { id, name, flowName: flow?.name ?? null, deploymentName: deployment?.name ?? null, state, times };
}

/** Keeps the records of flow runs up to date, and counts them. `now` returns ms since 1970. */
export class RunHistory {
  /** Flow runs claimed so far. */
  claimedCount = 0;
  readonly latencies: Readonly<Record<LatencyKind, LatencySample[]>> = { claim: [], running: [] };
  /** The last flow runs that have left the worker's hands, oldest first. */
  readonly ended: RunSummary[] = [];
  /**
   * How many flow runs have left the worker's hands, by the state they were left in: SCHEDULED to run again, PAUSED to be
   * resumed, the others for good. A flow run that nobody has told about yet is counted later: a count never falls.
   */
  readonly endedByType = new Map<OutcomeType, number>();
  /** Called with each latency as it becomes known. */
  onLatency: (kind: LatencyKind, ms: number) => void = () => {};

  constructor(private readonly now: () => number = wallClockMs) {}

  /** The claim was accepted: `pending` is the server's answer. */
  recordClaim(run: RunRecord, pending: ObservedState): void {
    const at = parseTime(pending.timestamp) ?? this.now();
    run.phase = "claimed";
    run.times.claimed = at;
    run.times.due ??= at;
    Object.assign(run.state, { type: pending.type, name: pending.name, at });
    this.claimedCount++;
    this.#sample("claim", run, at);
  }

  /** Somebody tells of a state. A state that is older than what is known changes nothing. */
  recordState(run: RunRecord, state: ObservedState | null): void {
    if (!state || run.times.claimed === null) return;
    const at = parseTime(state.timestamp);
    if (state.type === "RUNNING" && at !== null) this.#noteRunning(run, at);
    if (at !== null && at < run.state.at) return;
    const hasLeft = run.phase === "left";
    const hasEnd = isFinalType(run.state.type);
    if (hasEnd && !(isFinal(state) && at !== null)) return;
    // An unfinished state after the end is news of the past, or of an attempt in other hands.
    if (hasLeft && isUnfinished(state.type)) return;
    Object.assign(run.state, { type: state.type, name: state.name, at: at ?? run.state.at });
    if (isFinal(state) && at !== null) run.times.ended = at;
    if (isFinal(state) && hasLeft) this.settle(run);
  }

  /** The claimed flow run leaves the worker's hands. Whoever calls this settles it later, because news may still come. */
  recordLeft(run: RunRecord): void {
    run.phase = "left";
    run.times.ended ??= this.now();
    if (isUnfinished(run.state.type)) Object.assign(run.state, { type: "UNKNOWN", name: "unknown" });
    this.ended.push(summarize(run));
    if (this.ended.length > maxEnded) this.ended.shift();
    if (isFinalType(run.state.type)) this.settle(run);
  }

  /** Counts a flow run that has left by its state. Only the first call counts. */
  settle(run: RunRecord): void {
    if (run.isSettled) return;
    run.isSettled = true;
    const { type } = run.state;
    this.endedByType.set(type, (this.endedByType.get(type) ?? 0) + 1);
  }

  /** Running counts if it lies between the claim and the end: the news may be late, or of another attempt. */
  #noteRunning(run: RunRecord, at: number): void {
    const { times } = run;
    if (times.running !== null || at < (times.claimed ?? at) || at > (times.ended ?? at)) return;
    times.running = at;
    this.#sample("running", run, at);
  }

  #sample(kind: LatencyKind, { flowRun, times }: RunRecord, at: number): void {
    // A flow run that is claimed ahead of its time, by prefetch, has not waited at all.
    const ms = Math.max(0, at - (times.due ?? at));
    const samples = this.latencies[kind];
    samples.push({ flowRunName: flowRun.name, at, ms });
    if (samples.length > maxLatencies) samples.shift();
    this.onLatency(kind, ms);
  }
}

/** The states in which no flow run is left on purpose: how such a flow run ended is not known. */
function isUnfinished(type: OutcomeType): boolean {
  return type === "PENDING" || type === "RUNNING" || type === "CANCELLING";
}

function isFinalType(type: OutcomeType): boolean {
  return type !== "UNKNOWN" && isFinal({ type });
}
