// The ports on which a program serves people and supervisors. One that is taken is the user's to change.
import { bothClocks, monotonicMs } from "../async/clock.ts";
import type { Logging } from "../logger.ts";
import { startHealthServer } from "../status/health-server.ts";
import type { MetricsSources } from "../status/metrics-server.ts";
import { readStatus, type StatusSources } from "../status/status.ts";
import { WorkerStartError } from "../worker/worker-start-error.ts";

/** So many poll intervals without a poll, and a worker counts as stuck. Source: prefect workers/server.py. */
const missedPolls = 30;

/**
 * Serves `/health` and the status page. Called before anything is known but the options, because asking the API may take
 * long. Throws WorkerStartError.
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
      pollsFailingSeconds: () => secondsFailing(sources),
      status: () => readStatus(sources, bothClocks()),
      redact,
      log: logger,
    });
  } catch (error) {
    const settings = "PREFECT_WORKER_WEBSERVER_HOST or PREFECT_WORKER_WEBSERVER_PORT";
    throw cannotListen("healthcheck", `${address.host}:${address.port}`, error, settings);
  }
}

/** Seconds since the last poll of a worker that should have polled since; undefined while all workers are alive. */
export function secondsOverdue(sources: StatusSources): number | undefined {
  const now = monotonicMs();
  for (const options of sources.options) {
    const silentMs = now - lastSignOfLife(sources, options);
    if (silentMs > missedPolls * options.querySeconds * 1000) return silentMs / 1000;
  }
  return undefined;
}

/** Seconds since polls of a worker fail; undefined while those of all workers are answered. */
function secondsFailing({ workers }: StatusSources): number | undefined {
  const since = workers.flatMap(({ polling }) => polling.polls.health.failingSince ?? []);
  return since.length === 0 ? undefined : (monotonicMs() - Math.min(...since)) / 1000;
}

/**
 * A worker is alive that polls, that drains, or that waits until the API's maintenance is over. On the monotonic clock.
 * Source: prefect workers/server.py.
 */
function lastSignOfLife(sources: StatusSources, options: StatusSources["options"][number]): number {
  const { workers, startedAt, api, stop } = sources;
  if (stop.drain.aborted) return monotonicMs();
  const polledAt = workers.find((worker) => worker.options === options)?.polling.answeredAt ?? startedAt;
  return Math.max(polledAt, api?.maintenanceAt() ?? Number.NEGATIVE_INFINITY);
}

/** Serves the metrics on all interfaces. Throws WorkerStartError. */
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
