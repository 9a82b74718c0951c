// Starts the healthcheck server and the metrics server. If a port is in use, the error says which setting to change.
import { bothClocks, monotonicMs } from "../async/clock.ts";
import type { Logging } from "../logger.ts";
import { startHealthServer } from "../status/health-server.ts";
import type { MetricsSources } from "../status/metrics-server.ts";
import { readLogTail } from "../status/read-log-tail.ts";
import { readStatus, readWatches, type StatusSources } from "../status/read-status.ts";
import { WorkerStartError } from "../worker/worker-start-error.ts";

/** A worker counts as stuck after this many poll intervals without a poll. Source: prefect workers/server.py. */
export const missedPolls = 30;

/**
 * Serves `/health` and the status page until it is disposed. Called first, because requests to the API may take long.
 * Throws WorkerStartError if it cannot listen.
 */
export async function serveHealth(
  address: { host: string; port: number },
  sources: StatusSources,
  { redact, logger }: Logging,
): Promise<Disposable> {
  try {
    return await startHealthServer({
      ...address,
      silentSeconds: () => secondsOverdue(sources),
      outageSeconds: () => secondsAway(sources),
      pollsFailingSeconds: () => secondsFailing(sources),
      journalProblem: () => sources.journal?.problem ?? null,
      machineProblem: () => sources.machine.problem,
      watches: () => readWatches(sources.workers),
      status: () => readStatus(sources, bothClocks()),
      logTail: (flowRunId) => readLogTail(sources.workers, flowRunId),
      redact,
      log: logger,
    });
  } catch (error) {
    const settings = "PREFECT_WORKER_WEBSERVER_HOST or PREFECT_WORKER_WEBSERVER_PORT";
    throw cannotListen("healthcheck", `${address.host}:${address.port}`, error, settings);
  }
}

/** Returns the seconds since the last poll of a worker that is stuck. Returns undefined if no worker is stuck. */
export function secondsOverdue(sources: StatusSources): number | undefined {
  const now = monotonicMs();
  for (const options of sources.options) {
    const silentMs = now - lastSignOfLife(sources, options);
    if (silentMs > missedPolls * options.querySeconds * 1000) return silentMs / 1000;
  }
  return undefined;
}

/**
 * Returns for how many seconds the API has been away for a worker. Returns undefined without an outage, and during a drain,
 * because nobody should restart a worker that waits for its flow runs.
 */
export function secondsAway({ workers, stop }: StatusSources): number | undefined {
  const since = stop.drain.aborted ? [] : workers.flatMap(({ outage }) => outage.since ?? []);
  return since.length === 0 ? undefined : (monotonicMs() - Math.min(...since)) / 1000;
}

/** Returns for how many seconds the polls of a worker have failed. Returns undefined if all polls succeed. */
function secondsFailing({ workers }: StatusSources): number | undefined {
  const since = workers.flatMap(({ polling }) => polling.polls.health.failingSince ?? []);
  return since.length === 0 ? undefined : (monotonicMs() - Math.min(...since)) / 1000;
}

/**
 * Returns when the worker last polled, on the monotonic clock. A drain or maintenance of the API counts as a poll.
 * Source: prefect workers/server.py.
 */
function lastSignOfLife(sources: StatusSources, options: StatusSources["options"][number]): number {
  const { workers, startedAt, api, stop } = sources;
  if (stop.drain.aborted) return monotonicMs();
  const polledAt = workers.find((worker) => worker.options === options)?.polling.answeredAt ?? startedAt;
  return Math.max(polledAt, api?.maintenanceAt() ?? Number.NEGATIVE_INFINITY);
}

/** Serves the metrics on all interfaces until it is disposed. Throws WorkerStartError if it cannot listen. */
export async function serveMetrics(port: number, sources: MetricsSources): Promise<Disposable> {
  const { startMetricsServer } = await import("../status/metrics-server.ts");
  try {
    return await startMetricsServer(port, sources);
  } catch (error) {
    throw cannotListen("metrics", `port ${port}`, error, "PREFECT_CLIENT_METRICS_PORT");
  }
}

function cannotListen(server: string, address: string, error: unknown, settings: string): WorkerStartError {
  const { code, message } = error as NodeJS.ErrnoException;
  return new WorkerStartError(
    `The ${server} server cannot listen on ${address} (${code ?? message}). Set ${settings}.`,
  );
}
