// Keeps the list of the pool's workers that the order of claims is made of.
import { filterOnlineWorkers } from "../api/work-pools.ts";
import { clampedPoissonMs } from "../async/jitter.ts";
import { sleep } from "../async/sleep.ts";
import type { Worker } from "./worker.ts";

/** Workers that start together have all sent a heartbeat by then. */
const firstReadMs = 2_000;
/** A shorter heartbeat interval does not make the list any better. */
const shortestIntervalMs = 10_000;
const jitterFactor = 0.3;

/**
 * Reads the list about once per heartbeat until `signal` aborts; never throws. A failure leaves the last list in use.
 * A worker of some work queues returns at once and lets nobody come first: the list does not say who serves its queues,
 * and it would wait for workers that never see the flow run.
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
