// Objects exactly as the Prefect API sends and receives them, in snake_case, with the fields that lictor uses.
// Other fields are ignored. Source: prefect client/schemas/objects.py and client/schemas/responses.py.

/** Any JSON value. */
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

/** One of the nine state types. */
export type StateType = (typeof stateTypes)[number];

/** Returns true for one of the nine state types. A newer server or engine may send others. */
export function isStateType(text: unknown): text is StateType {
  return (stateTypes as readonly unknown[]).includes(text);
}

/** A state as the API returns it. Times are ISO 8601. */
export interface State {
  id?: string;
  type: StateType;
  name: string;
  timestamp?: string;
  message: string | null;
  /** The result, or a reference to its storage. */
  data?: Json;
  state_details?: { scheduled_time?: string | null; transition_id?: string | null };
}

/** A state as the worker proposes it. */
export interface StateProposal {
  type: StateType;
  name: string;
  message: string | null;
  /** Only for a state that is proposed again. */
  data?: Json;
  /** Only for a scheduled state. The server takes its own time if it is missing or null. */
  scheduledTime?: string | null;
}

/** A flow run. `state` is null in poll responses before Prefect 3.9.1. `state_type` and `state_name` are always set. */
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
  /** Numbers keep their text in poll responses. */
  parameters?: JsonObject;
  infrastructure_pid: string | null;
  expected_start_time: string | null;
  next_scheduled_start_time: string | null;
  start_time: string | null;
  work_queue_id: string | null;
  /** Servers before 3.1 have none. */
  labels?: JsonObject | null;
  /** With `in_process`, the engine waits for the retry itself, and no poll returns the flow run. */
  empirical_policy?: FlowRunPolicy | null;
}

/** How a flow run is retried. The server replaces the whole object, so other fields have to be kept. */
export interface FlowRunPolicy {
  retries?: number | null;
  /** In seconds. */
  retry_delay?: number | null;
  retry_type?: string | null;
}

/** One entry of a poll response. */
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
  /** JSON Schema of the parameters. */
  parameter_openapi_schema?: { properties?: { [name: string]: { type?: string } } | null } | null;
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

/** A work pool. `base_job_template` is `{}` until a worker or a user sets it. */
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

/** The response of `POST /flow_runs/{id}/set_state`. */
export interface OrchestrationResult {
  status: "ACCEPT" | "REJECT" | "WAIT" | "ABORT";
  state: State | null;
  details: { type?: string; reason?: string | null; delay_seconds?: number };
}

/** One record of `POST /logs/`. `level` is Python's number, from 10 (debug) to 50 (critical). */
export interface LogRecord {
  name: string;
  level: number;
  message: string;
  timestamp: string;
  flow_run_id: string | null;
  task_run_id: string | null;
  worker_id?: string;
}

/** A resource of an event: label values by label name. */
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

/** The metadata that a worker sends once: the Prefect integrations installed in the Python of its flow runs. */
export type WorkerMetadata = { integrations: { name: string; version: string }[] };
