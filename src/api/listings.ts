// Routes whose responses are shown to people as the server sent them: work pools, workers and flow runs.
// Source: prefect client/orchestration.
import type { Api } from "./api.ts";
import { type Check, listOf, object, optional, string, text } from "./json-check.ts";
import type { JsonObject } from "./wire.ts";
import { isMissing } from "./work-pools.ts";

/** What every list of the server returns at most. A full page means that there may be more. */
const pageSize = 200;

const named = object({ id: text, name: string });
const listedFlowRun = object({
  id: text,
  name: string,
  flow_id: text,
  created: text,
  state: optional(object({ type: text, timestamp: text })),
});

/** Returns all work pools. Throws the errors of `Api.request`. */
export async function readWorkPools(api: Api): Promise<JsonObject[]> {
  return await readPages(api, "/work_pools/filter", {}, named);
}

/** Returns all workers of a work pool; undefined if the work pool does not exist. Throws the errors of `Api.request`. */
export async function readWorkers(api: Api, pool: string): Promise<JsonObject[] | undefined> {
  return await unlessMissing(api, readPages(api, `${poolPath(pool)}/workers/filter`, {}, named));
}

/** Returns a work pool as the server sent it; undefined if it does not exist. Throws the errors of `Api.request`. */
export async function readWorkPool(api: Api, name: string): Promise<JsonObject | undefined> {
  return await unlessMissing(api, api.request("GET", poolPath(name), { shape: named }) as Promise<JsonObject>);
}

/** Pauses or resumes a work pool. Returns undefined if it does not exist. Throws the errors of `Api.request`. */
export async function setPaused(api: Api, name: string, isPaused: boolean): Promise<true | undefined> {
  const changed = api.request("PATCH", poolPath(name), { body: { is_paused: isPaused } });
  return await unlessMissing(
    api,
    changed.then(() => true as const),
  );
}

/**
 * Returns the flow runs of a work pool that are scheduled before a time; undefined if the work pool does not exist. Throws
 * the errors of `Api.request`.
 */
export async function readScheduled(api: Api, pool: string, before: Date): Promise<JsonObject[] | undefined> {
  const scheduled = api.request("POST", `${poolPath(pool)}/get_scheduled_flow_runs`, {
    body: { scheduled_before: before.toISOString() },
    shape: listOf(object({ flow_run: named })),
  }) as Promise<{ flow_run: JsonObject }[]>;
  return (await unlessMissing(api, scheduled))?.map(({ flow_run }) => flow_run);
}

/** Returns the flow runs that are due last, newest first. Throws the errors of `Api.request`. */
export async function readFlowRuns(
  api: Api,
  criteria: { flowNames: readonly string[]; state: JsonObject; limit: number },
): Promise<JsonObject[]> {
  const { flowNames, state, limit } = criteria;
  return (await api.request("POST", "/flow_runs/filter", {
    body: {
      flows: flowNames.length > 0 ? { name: { any_: [...flowNames] } } : null,
      flow_runs: Object.keys(state).length > 0 ? { state } : null,
      sort: "EXPECTED_START_TIME_DESC",
      limit,
    },
    shape: listOf(listedFlowRun),
  })) as JsonObject[];
}

/** Returns a flow run as the server sent it; undefined if it does not exist. Throws the errors of `Api.request`. */
export async function readFlowRun(api: Api, id: string): Promise<JsonObject | undefined> {
  return await unlessMissing(api, api.request("GET", `/flow_runs/${id}`, { shape: named }) as Promise<JsonObject>);
}

/** Returns the names of flows by their ids. Throws the errors of `Api.request`. */
export async function readFlowNames(api: Api, ids: readonly string[]): Promise<Map<string, string>> {
  const flows = await readPages(api, "/flows/filter", { flows: { id: { any_: [...new Set(ids)] } } }, named);
  return new Map(flows.map(({ id, name }) => [id as string, name as string]));
}

/**
 * Asks the server to cancel a flow run. Returns its decision; undefined if the flow run does not exist. Throws the errors of
 * `Api.request`.
 */
export async function cancelFlowRun(api: Api, id: string): Promise<{ status: string; reason: string } | undefined> {
  const proposal = api.request("POST", `/flow_runs/${id}/set_state`, {
    body: { state: { type: "CANCELLING", name: "Cancelling" }, force: false },
    shape: object({ status: text }),
  }) as Promise<{ status: string; details?: { reason?: string | null } | null }>;
  const decision = await unlessMissing(api, proposal);
  return decision && { status: decision.status, reason: decision.details?.reason ?? "" };
}

async function readPages(api: Api, path: string, criteria: JsonObject, item: Check): Promise<JsonObject[]> {
  const all: JsonObject[] = [];
  for (;;) {
    const body = { ...criteria, limit: pageSize, offset: all.length };
    const page = (await api.request("POST", path, { body, shape: listOf(item) })) as JsonObject[];
    all.push(...page);
    if (page.length < pageSize) return all;
  }
}

async function unlessMissing<T>(api: Api, response: Promise<T>): Promise<T | undefined> {
  try {
    return await response;
  } catch (error) {
    if (isMissing(error, api.address)) return undefined;
    throw error;
  }
}

function poolPath(name: string): string {
  return `/work_pools/${encodeURIComponent(name)}`;
}
