// The record of one flow run: everything that lictor knows about a flow run that a worker takes.
import { setMaxListeners } from "node:events";
import type { Deployment, Flow, FlowRun, PrefectEvent, State, StateType, WorkPool } from "../api/wire.ts";
import { monotonicMs, wallClockMs } from "../async/clock.ts";
import type { Ending, Handle } from "../infrastructure/execution.ts";
import type { Logger } from "../logger.ts";
import type { ReportRules } from "../program/program.ts";
import type { ProgramLines } from "./program-lines.ts";

/**
 * The phase of a flow run. `claiming`: Pending is proposed. `claimed`: it is accepted. `starting`: the program is about to
 * start. `running`: it runs. `ending`: it is stopped, or its end is reported. `hooks`: hooks that the worker has to run are
 * running. `leftovers`: only processes that it left behind have not ended. `left`: the worker has finished with it.
 */
export type RunPhase = "claiming" | "claimed" | "starting" | "running" | "ending" | "hooks" | "leftovers" | "left";

/**
 * Why a flow run is stopped: it was cancelled, the worker ends it, or it ran for too long. `by` completes "Worker 'w' …".
 */
export type StopReason = { kind: "cancel" } | { kind: "kill"; by: string } | { kind: "timeout"; seconds: number };

/** The last state type of a flow run. UNKNOWN: no event or response said how the flow run ended. */
export type OutcomeType = StateType | "UNKNOWN";

/** Times in ms since 1970, by the server's clock if the server sent them. `null` is a time that is not known. */
export interface RunTimes {
  readonly created: number | null;
  /** The earliest time for a claim: the creation or the scheduled time, whichever is later. */
  due: number | null;
  claimed: number | null;
  /** When it was Running for the first time since its claim. */
  running: number | null;
  ended: number | null;
}

/** The newest known state. `at`: when it was entered (ms since 1970), by the server's clock. */
export interface LatestState {
  type: OutcomeType;
  name: string;
  at: number;
}

/** One flow run, from before its claim until its last state is known or no longer expected. */
export interface RunRecord {
  readonly flowRun: FlowRun;
  /** The work pool as it was when the flow run was taken. It may be changed or deleted meanwhile. */
  readonly workPool: WorkPool;
  deployment: Deployment | null;
  flow: Flow | null;
  phase: RunPhase;
  /** The accepted Pending. */
  claim: State | null;
  /** The transition ids of this worker's proposals of Pending and Submitting. */
  readonly proposals: string[];
  /** Names the process or container that was started for it, or that is about to be. */
  handle: Handle | null;
  /** How the worker reports its states; null if an engine does. Undefined until the job or the journal tells it. */
  rules: ReportRules | null | undefined;
  /** The lines of its program; null if an engine sends its logs itself. */
  lines: ProgramLines | null;
  /** When its program was started, in ms since 1970. Null before. */
  beganAt: number | null;
  /** How its program ended. Null while it runs, and for a program that no worker saw ending. */
  ending: Ending | null;
  /** The last report that it waits for infrastructure. Never rejects. The end is reported after it. */
  waitingReport: Promise<unknown>;
  /** Such a report whose response was lost, so that the server may accept it at any time. Null if there is none. */
  lateWaiting: { readonly before: State; readonly transitionId: string } | null;
  /** The worker does not know whether its claim was accepted. The journal keeps the flow run for the next worker. */
  isClaimUnknown: boolean;
  /** Its program goes on without this worker. The journal keeps the flow run for the next worker. */
  isLeftRunning: boolean;
  /** The event about the start. The event about the end refers to it by `follows`. */
  submitted: PrefectEvent | null;
  readonly state: LatestState;
  readonly times: RunTimes;
  /** When the worker took it, on the monotonic clock. */
  readonly takenAt: number;
  /** When this worker started its program, on the monotonic clock. Null before, and for an adopted program. */
  startedAt: number | null;
  /** Freed as soon as the flow run itself has ended, before its hooks. */
  readonly slot: Disposable;
  /** Aborts with a StopReason. */
  readonly stop: AbortController;
  /** Aborts when the flow run is set back. Its process id must not be reported after that. */
  readonly setBack: AbortController;
  readonly log: Logger;
  /** Whether RunHistory has counted it by its last state. */
  isSettled: boolean;
}

/** Returns the reason to stop the flow run; undefined if there is none. The first reason counts. */
export function stopReason({ stop }: RunRecord): StopReason | undefined {
  return stop.signal.aborted ? (stop.signal.reason as StopReason) : undefined;
}

/** Returns whether this worker proposed the state. False for a state without a transition id, as some servers send. */
export function hasProposed({ proposals }: Pick<RunRecord, "proposals">, state: State | null | undefined): boolean {
  return proposals.includes(state?.state_details?.transition_id ?? "");
}

/** Returns whether the state may be one that this worker proposed. Some servers send no transition ids. */
export function mayHaveProposed(run: Pick<RunRecord, "proposals">, state: State | null | undefined): boolean {
  return !state?.state_details?.transition_id || hasProposed(run, state);
}

/** Returns a new record of a flow run that a poll returned. */
export function createRunRecord(given: Pick<RunRecord, "flowRun" | "workPool" | "slot" | "log">): RunRecord {
  const { flowRun } = given;
  const stop = new AbortController();
  setMaxListeners(0, stop.signal);
  const created = parseTime(flowRun.created);
  const scheduled = parseTime(flowRun.next_scheduled_start_time ?? flowRun.expected_start_time);
  const due = Math.max(created ?? 0, scheduled ?? 0) || null;
  return {
    ...given,
    stop,
    setBack: new AbortController(),
    takenAt: monotonicMs(),
    startedAt: null,
    deployment: null,
    flow: null,
    phase: "claiming",
    claim: null,
    proposals: [],
    handle: null,
    rules: undefined,
    lines: null,
    beganAt: null,
    ending: null,
    waitingReport: Promise.resolve(),
    lateWaiting: null,
    isClaimUnknown: false,
    isLeftRunning: false,
    submitted: null,
    isSettled: false,
    state: { type: flowRun.state_type ?? "SCHEDULED", name: flowRun.state_name ?? "Scheduled", at: 0 },
    times: { created, due, claimed: null, running: null, ended: null },
  };
}

/** Notes that its program begins now. Its time limit counts from here on. */
export function noteBegin(run: RunRecord): void {
  run.startedAt = monotonicMs();
  run.beganAt = wallClockMs();
}

/** Returns the ms since 1970 of an ISO 8601 time; null if there is none. */
export function parseTime(text: State["timestamp"] | null): number | null {
  const at = Date.parse(text ?? "");
  return Number.isNaN(at) ? null : at;
}
