// Routes of work pools, their queues and their workers.
// Source: prefect client/orchestration/_work_pools/client.py, server/api/workers.py.
import type { Api } from "./api.ts";
import { ApiError, hasStatus } from "./errors.ts";
import { fieldOf, jobVariablesOfPoll } from "./exact-places.ts";
import { listOf } from "./json-check.ts";
import type { RequestOptions } from "./request-options.ts";
import { scheduledFlowRunsShape, workersShape, workPoolShape, workQueueShape } from "./shapes.ts";
import type { JsonObject, ScheduledFlowRun, WorkerMetadata, WorkerRecord, WorkPool, WorkQueue } from "./wire.ts";

const template = fieldOf("base_job_template");

const at = (name: string): string => `/work_pools/${encodeURIComponent(name)}`;

/**
 * The work pool, or undefined when there is none of that name. Throws ApiError 404 when a self-hosted server has no such
 * route at all, as without the `/api` in its URL.
 */
export async function findWorkPool(api: Api, name: string, options?: RequestOptions): Promise<WorkPool | undefined> {
  try {
    return (await api.request("GET", at(name), {
      ...options,
      shape: workPoolShape,
      exact: template,
    })) as unknown as WorkPool;
  } catch (error) {
    // Advice comes with a 404 only where the route itself is missing; a missing object is named by the server.
    const isMissingRoute = error instanceof ApiError && error.advice !== undefined && !api.address.isCloud;
    if (hasStatus(error, 404) && !isMissingRoute) return undefined;
    throw error;
  }
}

/** Creates a work pool; throws ApiError 409 when somebody else just did. */
export async function createWorkPool(
  api: Api,
  pool: { name: string; type: string; base_job_template: JsonObject },
  options?: RequestOptions,
): Promise<WorkPool> {
  return (await api.request("POST", "/work_pools/", {
    ...options,
    body: pool,
    isBodyExact: true,
    shape: workPoolShape,
    exact: template,
  })) as unknown as WorkPool;
}

/** Replaces the base job template of a work pool. */
export async function updateBaseJobTemplate(
  api: Api,
  name: string,
  baseJobTemplate: JsonObject,
  options?: RequestOptions,
): Promise<void> {
  await api.request("PATCH", at(name), {
    ...options,
    body: { base_job_template: baseJobTemplate },
    isBodyExact: true,
  });
}

/** The queues of a pool, or those of them that are named. Throws ApiError 404 without the pool. */
export async function filterWorkQueues(
  api: Api,
  pool: string,
  names: readonly string[],
  options?: RequestOptions,
): Promise<WorkQueue[]> {
  const body = { work_queues: names.length > 0 ? { name: { any_: [...names] } } : null, limit: null, offset: null };
  return (await api.request("POST", `${at(pool)}/queues/filter`, {
    ...options,
    body,
    shape: listOf(workQueueShape),
  })) as unknown as WorkQueue[];
}

/**
 * Tells the server that the worker lives. A self-hosted server answers with an empty 204; Cloud, while asked by
 * `return_id`, with the worker's id as bare text, which is returned.
 */
export async function sendWorkerHeartbeat(
  api: Api,
  pool: string,
  heartbeat: { name: string; heartbeat_interval_seconds: number; return_id?: true; metadata?: WorkerMetadata },
  options?: RequestOptions,
): Promise<string | undefined> {
  const answer = await api.request("POST", `${at(pool)}/workers/heartbeat`, {
    lane: "heartbeat",
    ...options,
    body: heartbeat,
    text: true,
  });
  const id = String(answer ?? "")
    .replaceAll('"', "")
    .trim();
  return /^[0-9a-f-]{36}$/i.test(id) ? id : undefined;
}

/** The workers of a pool that are online; servers return at most 200. Throws ApiError 404 without the pool. */
export async function filterOnlineWorkers(api: Api, pool: string, options?: RequestOptions): Promise<WorkerRecord[]> {
  return (await api.request("POST", `${at(pool)}/workers/filter`, {
    ...options,
    body: { workers: { status: { any_: ["ONLINE"] } }, offset: 0 },
    shape: workersShape,
  })) as unknown as WorkerRecord[];
}

/**
 * Flow runs scheduled before a time, in the order in which they should be taken. An empty list of queue names means all
 * queues, no `limit` as many as the server returns (200). Throws ApiError 404 when the pool or one of the queues does not exist.
 */
export async function getScheduledFlowRuns(
  api: Api,
  pool: string,
  query: { workQueueNames: readonly string[]; scheduledBefore: Date; limit?: number | undefined },
  options?: RequestOptions,
): Promise<ScheduledFlowRun[]> {
  const { workQueueNames, scheduledBefore, limit } = query;
  const body = {
    work_queue_names: [...workQueueNames],
    scheduled_before: scheduledBefore.toISOString(),
    ...(limit !== undefined && { limit }),
  };
  const path = `${at(pool)}/get_scheduled_flow_runs`;
  return (await api.request("POST", path, {
    lane: "poll",
    ...options,
    body,
    shape: scheduledFlowRunsShape,
    exact: jobVariablesOfPoll,
  })) as unknown as ScheduledFlowRun[];
}
