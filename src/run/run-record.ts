// All that lictor knows of one flow run in a worker's hands, in one record.
import type { Deployment, Flow, FlowRun, PrefectEvent, State, StateType, WorkPool } from "../api/wire.ts";
import type { Handle } from "../infrastructure/pool-type.ts";
import type { Logger } from "../logger.ts";

/**
 * How far a flow run has come. `claiming`: Pending is proposed. `claimed`: it is accepted. `starting`: the program is about
 * to start. `running`: it runs. `ending`: its end is reported. `left`: it has left the worker's hands.
 */
export type RunPhase = "claiming" | "claimed" | "starting" | "running" | "ending" | "left";

/** Why a flow run is stopped: somebody cancelled it, or the worker ends it; `by` completes "Worker 'w' …". */
export type StopReason = { kind: "cancel" } | { kind: "kill"; by: string };

/** UNKNOWN where nobody has told how a flow run ended. */
export type OutcomeType = StateType | "UNKNOWN";

/** Times in ms since 1970, by the server's clock where the server has told them. `null` is what is not known yet. */
export interface RunTimes {
  readonly created: number | null;
  /** When the flow run could be claimed at the earliest: its creation or its scheduled time, whichever is later. */
  due: number | null;
  claimed: number | null;
  /** When it was Running for the first time since its claim. */
  running: number | null;
  ended: number | null;
}

/** The newest state that anybody has told. `at`: when it was entered (ms since 1970), by the server's clock. */
export interface LatestState {
  type: OutcomeType;
  name: string;
  at: number;
}

/** One flow run, from before its claim until nothing more is to be heard of it. */
export interface RunRecord {
  readonly flowRun: FlowRun;
  /** As it was when the flow run was taken: it may be changed or deleted meanwhile. */
  readonly workPool: WorkPool;
  deployment: Deployment | null;
  flow: Flow | null;
  phase: RunPhase;
  /** The accepted Pending. */
  claim: State | null;
  /** What was started for it. */
  handle: Handle | null;
  /** The event that told so; the event about the end follows it. */
  submitted: PrefectEvent | null;
  readonly state: LatestState;
  readonly times: RunTimes;
  /** When it was taken, on the monotonic clock. */
  readonly takenAt: number;
  /** Freed as soon as the flow run itself has ended, before its hooks. */
  readonly slot: Disposable;
  /** Aborts with a StopReason. */
  readonly stop: AbortController;
  readonly log: Logger;
  /** It is counted among those that have left. */
  isSettled: boolean;
}

/** The reason to stop the flow run, if there is one. The first reason counts. */
export function stopReason({ stop }: RunRecord): StopReason | undefined {
  return stop.signal.aborted ? (stop.signal.reason as StopReason) : undefined;
}

/** A new record of a flow run that a poll has returned. */
export function createRunRecord(
  given: Pick<RunRecord, "flowRun" | "workPool" | "slot" | "takenAt" | "log" | "stop">,
): RunRecord {
  const { flowRun } = given;
  const created = parseTime(flowRun.created);
  const scheduled = parseTime(flowRun.next_scheduled_start_time ?? flowRun.expected_start_time);
  const due = Math.max(created ?? 0, scheduled ?? 0) || null;
  return {
    ...given,
    deployment: null,
    flow: null,
    phase: "claiming",
    claim: null,
    handle: null,
    submitted: null,
    isSettled: false,
    state: { type: flowRun.state_type ?? "SCHEDULED", name: flowRun.state_name ?? "Scheduled", at: 0 },
    times: { created, due, claimed: null, running: null, ended: null },
  };
}

/** Ms since 1970 of an ISO 8601 time; null for none. */
export function parseTime(text: State["timestamp"] | null): number | null {
  const at = Date.parse(text ?? "");
  return Number.isNaN(at) ? null : at;
}
