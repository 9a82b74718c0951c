// Keeps the list of the pool's workers up to date. The order of claims is computed from it.
import { filterOnlineWorkers } from "../api/work-pools.ts";
import { clampedPoissonMs } from "../async/jitter.ts";
import { sleep } from "../async/sleep.ts";
import type { Worker } from "./worker.ts";

/** Workers that start together have all sent a heartbeat after this time. */
const firstReadMs = 2_000;
/** A list that is read more often than this is not more useful. */
const shortestIntervalMs = 10_000;
const jitterFactor = 0.3;

/**
 * Reads the list about once per heartbeat until `signal` aborts. After a failure the last list stays in use. A worker of
 * some work queues returns at once and never waits for others. The list does not say which queues a worker serves, so it
 * would wait for workers that never see the flow run. Never throws.
 */
export async function watchWorkers(worker: Worker, signal: AbortSignal): Promise<void> {
  const { heartbeatSeconds, workPoolName, workQueueNames } = worker.options;
  if (workQueueNames.length > 0) return;
  const intervalMs = Math.max(heartbeatSeconds * 1000, shortestIntervalMs);
  await sleep(firstReadMs, signal);
  while (!signal.aborted) {
    try {
      if (worker.pool.current)
        worker.claimOrder.update(await filterOnlineWorkers(worker.api, workPoolName, { signal }));
    } catch (error) {
      if (!signal.aborted) worker.log.debug({ err: error }, "the pool's workers could not be listed");
    }
    await sleep(clampedPoissonMs(intervalMs, jitterFactor, worker.services.random), signal);
  }
}
