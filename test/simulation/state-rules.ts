// The rules by which the Prefect server 3.9.1 decides about a proposed state, as far as workers and engines meet them.
// Source: prefect server/orchestration/core_policy.py.
import type { Json, JsonObject, State, StateType } from "../../src/api/wire.ts";
import { isFinal } from "../../src/run/states.ts";

/** A flow run as the server stores and sends it. */
export interface ModelRun {
  readonly id: string;
  readonly name: string;
  readonly created: string;
  readonly flow_id: string;
  readonly deployment_id: string | null;
  state: ModelState;
  state_type: StateType;
  state_name: string;
  readonly tags: string[];
  readonly job_variables: JsonObject;
  infrastructure_pid: string | null;
  expected_start_time: string | null;
  next_scheduled_start_time: string | null;
  start_time: string | null;
  work_queue_id: string | null;
  run_count: number;
  readonly empirical_policy: { retries: number; retry_delay: number; retry_type: string | null };
  labels: JsonObject;
}

/** A stored state. */
export interface ModelState extends State {
  readonly id: string;
  readonly timestamp: string;
  readonly message: string | null;
  readonly state_details: {
    flow_run_id: string;
    transition_id: string | null;
    scheduled_time: string | null;
    pause_reschedule: boolean;
  };
}

/** A proposed state, as a client sends it. */
export interface Proposal {
  readonly type: StateType;
  readonly name?: string | null;
  readonly message?: string | null;
  readonly data?: Json;
  readonly state_details?: Partial<ModelState["state_details"]>;
}

/** What the server's rules decide about a proposal. */
export type Verdict =
  | { status: "ACCEPT" }
  | { status: "REJECT" | "ABORT"; reason: string; instead?: Proposal }
  | { status: "WAIT"; reason: string; delay_seconds: number };

/** The rules for a proposal that is not forced, in the server's order. Changes `proposed` and the flow run's policy. */
export function judge(run: ModelRun, proposed: ModelState, nowMs: number): Verdict {
  const { state: from, empirical_policy: policy } = run;
  const details = proposed.state_details;
  const to = proposed.type;
  if (details.transition_id !== null && details.transition_id === from.state_details.transition_id)
    return { status: "REJECT", reason: "This run has already made this state transition." };
  if (isFinal(from)) {
    if (to === "CANCELLING" || to === "PAUSED" || to === "CRASHED")
      return { status: "ABORT", reason: `Run is already in terminal state ${from.type}.` };
    if (from.type === "COMPLETED" && !isFinal(proposed) && hasStoredResult(from))
      return { status: "REJECT", reason: "Run is already COMPLETED." };
    if (to === "SCHEDULED" && run.deployment_id === null)
      return { status: "ABORT", reason: "Cannot reschedule a run without an associated deployment." };
  }
  if (from.type === "CANCELLING" && to !== "CANCELLED") {
    const reason = "Cannot transition flows that are cancelling to a state other than Cancelled.";
    return { status: "REJECT", reason };
  }
  const bypassed = judgeForced(run, proposed);
  if (bypassed.status !== "ACCEPT") return bypassed;
  if (to === "PENDING" && ["PENDING", "CANCELLING", "RUNNING", "CANCELLED"].includes(from.type)) {
    const isNextStep = from.type === "PENDING" && from.name !== proposed.name && proposed.name !== "Pending";
    if (!isNextStep)
      return {
        status: "ABORT",
        reason: `This run is in a ${from.type} state and cannot transition to a PENDING state.`,
      };
    details.scheduled_time = from.state_details.scheduled_time;
  }
  if (to === "PAUSED" && from.type !== "RUNNING") {
    const verb = proposed.name === "Suspended" ? "suspend" : "pause";
    return { status: "REJECT", reason: `Cannot ${verb} flows that are not currently running.` };
  }
  if (from.type === "PAUSED" && to === "PENDING")
    return {
      status: "REJECT",
      reason: `This run cannot transition to the StateType.${to} state from the StateType.${from.type} state.`,
    };
  if (from.type === "SCHEDULED" && to === "PENDING") details.scheduled_time ??= from.state_details.scheduled_time;
  if (to === "RUNNING" && (from.type === "SCHEDULED" || from.type === "PENDING")) {
    const delay_seconds = Math.round((Date.parse(from.state_details.scheduled_time ?? "") - nowMs) / 1000);
    if (delay_seconds > 0) return { status: "WAIT", reason: "Scheduled time is in the future", delay_seconds };
  }
  if (from.type === "RUNNING" && to === "FAILED") {
    if (run.run_count <= policy.retries) {
      policy.retry_type = "in_process";
      const scheduled_time = new Date(nowMs + policy.retry_delay * 1000).toISOString();
      const { message, data = null } = proposed;
      const instead = { type: "SCHEDULED", name: "AwaitingRetry", message, data } as const;
      return { status: "REJECT", reason: "Retrying", instead: { ...instead, state_details: { scheduled_time } } };
    }
    policy.retry_type = null;
  }
  if (isFinal(from) && !isFinal(proposed)) policy.retry_type = to === "SCHEDULED" ? "reschedule" : null;
  if (from.type === "PAUSED" && to === "SCHEDULED" && !from.state_details.pause_reschedule)
    policy.retry_type = "reschedule";
  return { status: "ACCEPT" };
}

/** The only rule that also applies to a forced proposal: nothing runs that could be cancelled. */
export function judgeForced({ state: from, infrastructure_pid }: ModelRun, { type }: ModelState): Verdict {
  if (type !== "CANCELLING") return { status: "ACCEPT" };
  const instead = { type: "CANCELLED" } as const;
  if ((from.type === "SCHEDULED" && !infrastructure_pid) || from.name === "Resuming")
    return { status: "REJECT", reason: "Scheduled flow run has no infrastructure to terminate.", instead };
  if (from.type === "PAUSED" && from.state_details.pause_reschedule)
    return { status: "REJECT", reason: "Suspended flow run has no infrastructure to terminate.", instead };
  return { status: "ACCEPT" };
}

function hasStoredResult({ data }: ModelState): boolean {
  return data !== null && typeof data === "object" && "type" in (data ?? {});
}
