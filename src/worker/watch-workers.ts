// Keeps the list of the pool's workers up to date. The order of claims is computed from it.
import { filterOnlineWorkers } from "../api/work-pools.ts";
import { monotonicMs } from "../async/clock.ts";
import { clampedPoissonMs } from "../async/jitter.ts";
import { sleep } from "../async/sleep.ts";
import type { Worker } from "./worker.ts";

/** Workers that start together have all sent a heartbeat after this time. */
const firstReadMs = 2_000;
/** A list that is read more often than this is not more useful. */
const shortestIntervalMs = 10_000;
/** How old the list may become while no flow run comes. A missing or surplus name only costs requests. */
const idleMs = 180_000;
const jitterFactor = 0.3;

/** The times of `watchWorkers`. The default interval is that of the heartbeats. */
export interface WatchTimes {
  firstReadMs?: number;
  intervalMs?: number;
  idleMs?: number;
}

/**
 * Reads the list until `signal` aborts: once per interval while flow runs come, and else once in a few minutes. After a
 * failure the last list stays in use until the next interval. A worker of some work queues returns at once and never waits
 * for others. The list does not say which queues a worker serves, so it would wait for workers that never see the flow
 * run. Never throws.
 */
export async function watchWorkers(worker: Worker, signal: AbortSignal, changes: WatchTimes = {}): Promise<void> {
  const { heartbeatSeconds, workQueueNames } = worker.options;
  if (workQueueNames.length > 0) return;
  const intervalMs = Math.max(heartbeatSeconds * 1000, shortestIntervalMs);
  const times = { firstReadMs, intervalMs, idleMs, ...changes };
  let readAt = Number.NEGATIVE_INFINITY;
  let before: readonly string[] = [];
  await sleep(times.firstReadMs, signal);
  while (!signal.aborted) {
    const isOld = monotonicMs() - readAt >= times.idleMs;
    const names = worker.claimOrder.isUsed || isOld ? await readWorkers(worker, signal) : null;
    if (names) {
      readAt = monotonicMs();
      // A worker that has gone may have left flow runs.
      if (before.some((name) => !names.includes(name))) worker.sweepWake.wake("pool");
      before = names;
    }
    await sleep(clampedPoissonMs(times.intervalMs, jitterFactor, worker.services.random), signal);
  }
}

/** Reads the list and returns the names in it. Returns null if it could not be read. */
async function readWorkers(worker: Worker, signal: AbortSignal): Promise<string[] | null> {
  if (!worker.pool.current) return null;
  try {
    const online = await filterOnlineWorkers(worker.api, worker.options.workPoolName, { signal });
    worker.claimOrder.update(online);
    return online.map(({ name }) => name);
  } catch (error) {
    if (!signal.aborted) worker.log.debug({ err: error }, "the pool's workers could not be listed");
    return null;
  }
}
