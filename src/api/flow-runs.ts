// Routes of flow runs. Source: prefect client/orchestration/_flow_runs/client.py, server/api/flow_runs.py.
import type { Api } from "./api.ts";
import { hasStatus } from "./errors.ts";
import { listOf } from "./json-check.ts";
import type { RequestOptions } from "./request-options.ts";
import { flowRunShape, orchestrationShape, statesShape } from "./shapes.ts";
import type { FlowRun, FlowRunPolicy, Json, JsonObject, OrchestrationResult, State } from "./wire.ts";

/** Returns the flow run, or undefined if it has been deleted. Throws the errors of `Api.request`. */
export async function findFlowRun(api: Api, id: string, options?: RequestOptions): Promise<FlowRun | undefined> {
  try {
    return (await api.request("GET", `/flow_runs/${id}`, { ...options, shape: flowRunShape })) as unknown as FlowRun;
  } catch (error) {
    if (hasStatus(error, 404)) return undefined;
    throw error;
  }
}

/**
 * Returns all states of the flow run, ordered by timestamp. The order in which they took effect may differ, because the
 * server sets the timestamp of a proposal before it waits for the database.
 * Source: prefect server/api/flow_run_states.py, server/api/flow_runs.py set_flow_run_state.
 */
export async function readFlowRunStates(api: Api, id: string, options?: RequestOptions): Promise<State[]> {
  const path = `/flow_run_states/?flow_run_id=${id}`;
  return (await api.request("GET", path, { ...options, shape: statesShape })) as unknown as State[];
}

/** Returns the flow runs that match. Servers return at most 200. */
export async function filterFlowRuns(api: Api, filter: JsonObject, options?: RequestOptions): Promise<FlowRun[]> {
  return await filterBy(api, { flow_runs: filter }, options);
}

async function filterBy(api: Api, criteria: JsonObject, options?: RequestOptions): Promise<FlowRun[]> {
  return (await api.request("POST", "/flow_runs/filter", {
    ...options,
    shape: listOf(flowRunShape),
    body: { offset: 0, ...criteria },
  })) as unknown as FlowRun[];
}

/** Returns the flow runs of a work pool in a CANCELLING state. Without queue names, those of all work queues. */
export async function filterCancelling(
  api: Api,
  pool: { name: string; workQueueNames: readonly string[] },
  options?: RequestOptions,
): Promise<FlowRun[]> {
  const queues =
    pool.workQueueNames.length > 0 ? { work_pool_queues: { name: { any_: [...pool.workQueueNames] } } } : {};
  const state = { type: { any_: ["CANCELLING"] } };
  return await filterBy(api, { flow_runs: { state }, work_pools: { name: { any_: [pool.name] } }, ...queues }, options);
}

/**
 * Returns some flow runs of a work pool that are claimed and have not ended, in the order in which they began. Among them
 * are those whose engine waits for a retry, and those that were scheduled again under the name of such a wait. Throws the
 * errors of `Api.request`.
 */
export async function filterClaimed(
  api: Api,
  pool: string,
  range: { offset: number; limit: number },
  options?: RequestOptions,
): Promise<FlowRun[]> {
  const type = { any_: ["PENDING", "RUNNING", "CANCELLING"] };
  const state = { operator: "or_", type, name: { any_: ["AwaitingRetry"] } };
  const criteria = { flow_runs: { state }, work_pools: { name: { any_: [pool] } }, sort: "START_TIME_ASC", ...range };
  return await filterBy(api, criteria, options);
}

/** Changes fields of a flow run. */
export async function updateFlowRun(
  api: Api,
  id: string,
  changes: { infrastructure_pid?: string | null; empirical_policy?: FlowRunPolicy },
  options?: RequestOptions,
): Promise<void> {
  await api.request("PATCH", `/flow_runs/${id}`, { ...options, body: changes as JsonObject });
}

/** Adds labels to the flow run, and replaces those of the same key. */
export async function updateFlowRunLabels(
  api: Api,
  id: string,
  labels: Readonly<Record<string, string>>,
  options?: RequestOptions,
): Promise<void> {
  await api.request("PATCH", `/flow_runs/${id}/labels`, { ...options, body: { ...labels } });
}

/** Proposes a state. Returns the server's decision. `force` skips most of the server's rules. */
export async function setFlowRunState(
  api: Api,
  id: string,
  proposal: { state: Json; force: boolean },
  options?: RequestOptions,
): Promise<OrchestrationResult> {
  return (await api.request("POST", `/flow_runs/${id}/set_state`, {
    lane: "state",
    ...options,
    shape: orchestrationShape,
    body: proposal,
  })) as unknown as OrchestrationResult;
}
