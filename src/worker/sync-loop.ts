// Keeps server and worker in touch: the work pool is read, created or given its template, and the heartbeat sent.
// Source: prefect workers/base.py sync_with_backend.
import { hasStatus, isTransient } from "../api/errors.ts";
import type { WorkPool } from "../api/wire.ts";
import { createWorkPool, findWorkPool, sendWorkerHeartbeat, updateBaseJobTemplate } from "../api/work-pools.ts";
import { sleep } from "../async/sleep.ts";
import type { InitialPool } from "./initial-pool.ts";
import { serviceLoop } from "./service-loop.ts";
import type { Worker } from "./worker.ts";

/** What the worker channel gets to open before the first sync, which there is no need for then. */
const channelFirstMs = 2_000;

/**
 * Takes the work pool that the start has read, or creates it. What can wait is left to the loop: a template for a pool
 * without one, and everything when the server cannot be asked.
 */
export async function takeInitialPool(worker: Worker, initial: InitialPool, signal: AbortSignal): Promise<void> {
  if (initial.read.kind === "unreachable") return;
  try {
    await takePool(worker, initial.read.pool, signal);
  } catch (error) {
    if (signal.aborted || !isTransient(error)) throw error;
    worker.log.warn({ err: error }, "The work pool could not be created; it will be tried again");
  }
}

/**
 * Syncs every heartbeat interval, unless the worker channel does, until `signal` aborts. Throws when the API refuses for
 * good.
 */
export async function syncLoop(worker: Worker, signal: AbortSignal): Promise<void> {
  const { announce, random } = worker.services;
  // The start has just read the pool: then the first turn has only the rest to do.
  let fresh = worker.pool.current !== undefined;
  // Both at once would write the same rows, which a server on SQLite answers to the channel with an error.
  await worker.sockets.channelTried.sleep(channelFirstMs, signal);
  await serviceLoop(
    {
      intervalMs: worker.options.heartbeatSeconds * 1000,
      announce,
      random,
      wait: sleep,
      turn: async (turn) => {
        if (!fresh && !worker.sockets.channelHealthy) {
          const found = await findWorkPool(worker.api, worker.options.workPoolName, { signal: turn });
          // What the channel brought while this was read is newer.
          if (!worker.sockets.channelHealthy) await takePool(worker, found, turn);
        }
        await sendTemplateAndHeartbeat(worker, turn);
        fresh = false;
      },
    },
    signal,
  );
}

/** Gives the work pool its template if it has none, and tells the server that the worker lives. */
export async function sendTemplateAndHeartbeat(worker: Worker, signal: AbortSignal): Promise<void> {
  const template = worker.pool.missingTemplate;
  if (template) await updateBaseJobTemplate(worker.api, worker.options.workPoolName, template, { signal });
  worker.pool.missingTemplate = undefined;
  await heartbeat(worker, signal);
}

/** Takes `found` as the work pool, or creates it. */
async function takePool(worker: Worker, found: WorkPool | undefined, signal: AbortSignal): Promise<void> {
  const { createPoolIfNotFound, workPoolName } = worker.options;
  const pool = found ?? (createPoolIfNotFound ? await createOrRead(worker, signal) : undefined);
  if (pool) {
    adoptPool(worker, pool);
  } else {
    if (!createPoolIfNotFound) worker.log.warn(`Work pool '${workPoolName}' not found!`);
    worker.pool.current = undefined;
    worker.pool.missingTemplate = undefined;
  }
}

/** Makes `pool` the worker's, for the flow runs to come. One without a template is used as if it had the default. */
export function adoptPool(worker: Worker, pool: WorkPool): void {
  const { poolType, log } = worker;
  if (pool.type !== poolType.name && worker.pool.current?.type !== pool.type) {
    log.warn(
      `Worker type mismatch! This worker process expects type '${poolType.name}' but received '${pool.type}' from the server. Unexpected behavior may occur.`,
    );
  }
  const isBare = Object.keys(pool.base_job_template).length === 0;
  const template = defaultTemplate(worker);
  worker.pool.missingTemplate = isBare ? template : undefined;
  worker.pool.current = isBare ? { ...pool, base_job_template: template } : pool;
}

/** The base job template for a work pool without one: the user's, else the pool type's own. */
export function defaultTemplate({ options, poolType }: Worker): WorkPool["base_job_template"] {
  return options.baseJobTemplate ?? poolType.baseJobTemplate;
}

async function createOrRead(worker: Worker, signal: AbortSignal): Promise<WorkPool | undefined> {
  const name = worker.options.workPoolName;
  try {
    const template = { base_job_template: defaultTemplate(worker) };
    const pool = await createWorkPool(worker.api, { name, type: worker.poolType.name, ...template }, { signal });
    worker.log.info(`Work pool '${name}' created.`);
    return pool;
  } catch (error) {
    // Another worker was faster.
    if (hasStatus(error, 409)) return await findWorkPool(worker.api, name, { signal });
    throw error;
  }
}

/**
 * On Cloud the first ones ask for the worker's id and tell what it has to offer. Nothing is sent for a pool that does not exist, and while the worker
 * channel has heartbeats of its own.
 */
async function heartbeat(worker: Worker, signal: AbortSignal): Promise<void> {
  if (!worker.pool.current || worker.sockets.channelHealthy) return;
  const { name, heartbeatSeconds, workPoolName } = worker.options;
  const { isCloud } = worker.api.address;
  const asksForId = isCloud && worker.identity.id() === null;
  const metadata = isCloud ? await worker.unsentMetadata() : null;
  const beat = {
    name,
    heartbeat_interval_seconds: Math.trunc(heartbeatSeconds),
    ...(asksForId && { return_id: true as const }),
    ...(metadata && { metadata }),
  };
  const id = await sendWorkerHeartbeat(worker.api, workPoolName, beat, { signal });
  if (asksForId) worker.api.attribution.workerId = id ?? null;
  if (metadata) worker.sockets.isMetadataSent = true;
}
