// Reads or creates the work pool, sets its base job template if it has none, and sends heartbeats over REST.
// Source: prefect workers/base.py sync_with_backend.
import { hasStatus, isTransient } from "../api/errors.ts";
import type { WorkPool } from "../api/wire.ts";
import {
  createWorkPool,
  findWorkPool,
  isMissing,
  sendWorkerHeartbeat,
  updateBaseJobTemplate,
  withTemplate,
} from "../api/work-pools.ts";
import type { InitialPool } from "./initial-pool.ts";
import { serviceLoop } from "./service-loop.ts";
import type { Worker } from "./worker.ts";

/** How long the first sync waits for the worker channel. An open channel makes the sync unnecessary. */
const channelFirstMs = 2_000;

/**
 * Takes the work pool that was read at the start, or creates it. The loop does the rest: it sets a missing template, and
 * does everything if the server was unreachable. Throws ApiError when the server refuses for good.
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
 * Syncs every heartbeat interval until `signal` aborts; an open worker channel makes that unnecessary. Throws ApiError only
 * if the server refuses the first sync, because a setting is wrong.
 */
export async function syncLoop(worker: Worker, signal: AbortSignal): Promise<void> {
  // A pool that was just read at the start is not read again in the first turn.
  let fresh = worker.pool.current !== undefined;
  let hasWorked = false;
  // Channel and sync write the same rows. If both do so at once, a server on SQLite closes the channel with an error.
  await worker.sockets.channelTried.sleep(channelFirstMs, signal);
  await serviceLoop(
    {
      name: "heartbeats",
      intervalMs: worker.options.heartbeatSeconds * 1000,
      hasWorked: () => hasWorked,
      outage: worker.outage,
      random: worker.services.random,
      wait: async (ms, waiting) => void (await worker.syncWake.sleep(ms, waiting)),
      turn: async (turn) => {
        if (!fresh && !worker.sockets.channelHealthy) {
          const found = await findWorkPool(worker.api, worker.options.workPoolName, { signal: turn });
          // If the channel opened during the request, its work pool is newer.
          if (!worker.sockets.channelHealthy) await takePool(worker, found, turn);
        }
        await sendTemplateAndHeartbeat(worker, turn).catch((error: unknown) => {
          if (!isMissing(error, worker.api.address)) throw error;
          worker.log.debug({ err: error }, "the work pool was deleted after it was read");
        });
        fresh = false;
        hasWorked = true;
      },
    },
    signal,
  );
}

/** Sets the work pool's base job template if it has none, and sends a heartbeat. Throws ApiError. */
export async function sendTemplateAndHeartbeat(worker: Worker, signal: AbortSignal): Promise<void> {
  const template = worker.pool.missingTemplate;
  if (template) await updateBaseJobTemplate(worker.api, worker.options.workPoolName, template, { signal });
  worker.pool.missingTemplate = undefined;
  await heartbeat(worker, signal);
}

/** Uses `found` as the work pool, or creates the pool if that is allowed. */
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

/** Uses `pool` for the next flow runs. A pool without a base job template is used as if it had the default one. */
export function adoptPool(worker: Worker, pool: WorkPool): void {
  const { poolType, log } = worker;
  if (pool.type !== poolType.name && worker.pool.current?.type !== pool.type) {
    log.warn(
      `Worker type mismatch! This worker process expects type '${poolType.name}' but received '${pool.type}' from the server. Unexpected behavior may occur.`,
    );
  }
  const used = withTemplate(pool, worker.defaultTemplate);
  worker.pool.missingTemplate = used === pool ? undefined : worker.defaultTemplate;
  worker.pool.current = used;
}

async function createOrRead(worker: Worker, signal: AbortSignal): Promise<WorkPool | undefined> {
  const name = worker.options.workPoolName;
  try {
    const template = { base_job_template: worker.defaultTemplate };
    const pool = await createWorkPool(worker.api, { name, type: worker.poolType.name, ...template }, { signal });
    worker.log.info(`Work pool '${name}' created.`);
    return pool;
  } catch (error) {
    // Another worker created the pool meanwhile.
    if (hasStatus(error, 409)) return await findWorkPool(worker.api, name, { signal });
    throw error;
  }
}

/**
 * Sends a heartbeat, unless the pool does not exist or the worker channel sends heartbeats. On Prefect Cloud the first
 * ones also request the worker's id and send its integrations.
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
