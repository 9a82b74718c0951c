// Shapes exactly as the Prefect API sends and receives them, snake_case, only the fields that lictor uses.
// Source: prefect client/schemas/objects.py and client/schemas/responses.py; unknown fields are ignored.

/** Anything JSON can hold. */
export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

/** A JSON object. */
export type JsonObject = { [key: string]: Json };

/** The nine state types. Source: prefect client/schemas/objects.py StateType. */
export const stateTypes = [
  "SCHEDULED",
  "PENDING",
  "RUNNING",
  "COMPLETED",
  "FAILED",
  "CANCELLED",
  "CRASHED",
  "PAUSED",
  "CANCELLING",
] as const;

/** One of the nine. */
export type StateType = (typeof stateTypes)[number];

/** True for one of the nine: events and engines may be of a release that knows more. */
export function isStateType(text: unknown): text is StateType {
  return (stateTypes as readonly unknown[]).includes(text);
}

/** A state as the API returns it; times are ISO 8601. */
export interface State {
  id?: string;
  type: StateType;
  name: string;
  timestamp?: string;
  message: string | null;
  /** The result, or where it is kept. */
  data?: Json;
  state_details?: { scheduled_time?: string | null; transition_id?: string | null };
}

/** A state as the worker proposes it. */
export interface StateProposal {
  type: StateType;
  name: string;
  message: string | null;
  /** Only of a SCHEDULED state. */
  scheduled_time?: string;
  /** Only of a state that is proposed again. */
  data?: Json;
}

/** A flow run. `state` is null in poll answers of servers before 3.9.1; `state_type` and `state_name` are always set. */
export interface FlowRun {
  id: string;
  name: string;
  created: string | null;
  flow_id: string;
  deployment_id: string | null;
  state_type: StateType | null;
  state_name: string | null;
  state: State | null;
  tags: string[];
  job_variables: JsonObject | null;
  infrastructure_pid: string | null;
  expected_start_time: string | null;
  next_scheduled_start_time: string | null;
  start_time: string | null;
  work_queue_id: string | null;
  /** `in_process`: the engine waits for the retry itself, and no poll returns the flow run. */
  empirical_policy?: { retry_type?: string | null } | null;
}

/** One entry of a poll answer. */
export interface ScheduledFlowRun {
  work_pool_id: string;
  work_queue_id: string;
  flow_run: FlowRun;
}

/** A deployment. */
export interface Deployment {
  id: string;
  name: string;
  flow_id: string;
  tags: string[];
  updated: string | null;
  job_variables: JsonObject | null;
  pull_steps: Json[] | null;
  entrypoint: string | null;
  path: string | null;
  branch?: string | null;
  base?: string | null;
  root?: string | null;
  version_id?: string | null;
  version_info?: { type: string; version: string } | null;
}

/** A flow. */
export interface Flow {
  id: string;
  name: string;
  tags: string[];
}

/** A work pool. `base_job_template` is `{}` until a worker or a user has set one. */
export interface WorkPool {
  id: string;
  name: string;
  type: string;
  base_job_template: JsonObject;
  is_paused: boolean;
  concurrency_limit: number | null;
  status: string | null;
}

/** A work queue of a work pool. */
export interface WorkQueue {
  id: string;
  name: string;
  is_paused: boolean;
  concurrency_limit: number | null;
}

/** The answer of `POST /flow_runs/{id}/set_state`. */
export interface OrchestrationResult {
  status: "ACCEPT" | "REJECT" | "WAIT" | "ABORT";
  state: State | null;
  details: { type?: string; reason?: string | null; delay_seconds?: number };
}

/** One record of `POST /logs/`; `level` is Python's number (10 debug … 50 critical). */
export interface LogRecord {
  name: string;
  level: number;
  message: string;
  timestamp: string;
  flow_run_id: string | null;
  task_run_id: null;
  worker_id?: string;
}

/** A resource of an event: label name to value. */
export type EventResource = { [label: string]: string };

/** An event as sent to `/events/in` and received from `/events/out`. */
export type PrefectEvent = {
  id: string;
  occurred: string;
  event: string;
  resource: EventResource;
  related: EventResource[];
  payload: JsonObject;
  follows: string | null;
};

/** A worker of a work pool, as the server lists it. */
export interface WorkerRecord {
  name: string;
  status: "ONLINE" | "OFFLINE";
}

/** What a worker tells of itself once: the packages of Prefect's collections in the Python of its flow runs. */
export type WorkerMetadata = { integrations: { name: string; version: string }[] };
