// Routes of work pools, their work queues and their workers.
// Source: prefect client/orchestration/_work_pools/client.py, server/api/workers.py.
import type { Api, ApiAddress } from "./api.ts";
import { ApiError } from "./errors.ts";
import { fieldOf, valuesOfPoll } from "./exact-places.ts";
import { listOf } from "./json-check.ts";
import type { RequestOptions } from "./request-options.ts";
import { scheduledFlowRunsShape, workersShape, workPoolShape, workQueueShape } from "./shapes.ts";
import type { JsonObject, ScheduledFlowRun, WorkerMetadata, WorkerRecord, WorkPool, WorkQueue } from "./wire.ts";

const template = fieldOf("base_job_template");

const at = (name: string): string => `/work_pools/${encodeURIComponent(name)}`;

/**
 * Returns the work pool, or undefined if it does not exist. Throws ApiError 404 if a self-hosted server does not have
 * the route, for example because the URL lacks `/api`.
 */
export async function findWorkPool(api: Api, name: string, options?: RequestOptions): Promise<WorkPool | undefined> {
  try {
    return (await api.request("GET", at(name), {
      ...options,
      shape: workPoolShape,
      exact: template,
    })) as unknown as WorkPool;
  } catch (error) {
    if (isMissing(error, api.address)) return undefined;
    throw error;
  }
}

/** Returns the work pool as if it had this base job template, if it has none yet. */
export function withTemplate(workPool: WorkPool, base_job_template: JsonObject): WorkPool {
  const isBare = Object.keys(workPool.base_job_template).length === 0;
  return isBare ? { ...workPool, base_job_template } : workPool;
}

/**
 * Returns true for a 404 that says that a work pool, a work queue or a flow run does not exist. The 404 of a proxy says nothing about
 * them, and a wrong URL gets a 404 too.
 */
export function isMissing(error: unknown, { isCloud }: ApiAddress): boolean {
  // A 404 has advice only if the route is missing. For a missing work pool, the server explains the 404.
  return error instanceof ApiError && error.status === 404 && (error.advice === undefined || isCloud);
}

/** Creates a work pool and returns it. Throws ApiError 409 if it already exists. */
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

/**
 * Returns the work queues of a pool with these names. Without names, returns all. Throws ApiError 404 if the pool does
 * not exist.
 */
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
 * Sends a heartbeat of the worker. Returns the worker's id if the server sends it, else undefined. With `return_id`,
 * Cloud responds with the id as plain text. A self-hosted server responds with an empty 204.
 */
export async function sendWorkerHeartbeat(
  api: Api,
  pool: string,
  heartbeat: { name: string; heartbeat_interval_seconds: number; return_id?: true; metadata?: WorkerMetadata },
  options?: RequestOptions,
): Promise<string | undefined> {
  const response = await api.request("POST", `${at(pool)}/workers/heartbeat`, {
    lane: "heartbeat",
    ...options,
    body: heartbeat,
    text: true,
  });
  const id = String(response ?? "")
    .replaceAll('"', "")
    .trim();
  return /^[0-9a-f-]{36}$/i.test(id) ? id : undefined;
}

/** Returns the online workers of a pool. Servers return at most 200. Throws ApiError 404 if the pool does not exist. */
export async function filterOnlineWorkers(api: Api, pool: string, options?: RequestOptions): Promise<WorkerRecord[]> {
  return (await api.request("POST", `${at(pool)}/workers/filter`, {
    ...options,
    body: { workers: { status: { any_: ["ONLINE"] } }, offset: 0 },
    shape: workersShape,
  })) as unknown as WorkerRecord[];
}

/**
 * Returns flow runs scheduled before a time, in the order in which to start them. An empty list of names means all work
 * queues. Without `limit`, the server returns at most 200. Throws ApiError 404 if the pool or a work queue does not
 * exist.
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
    exact: valuesOfPoll,
  })) as unknown as ScheduledFlowRun[];
}
