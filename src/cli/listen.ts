// The ports that a worker serves people and supervisors on. One that is taken is the user's to change.

import { bothClocks, monotonicMs } from "../async/clock.ts";
import { startHealthServer } from "../worker/health-server.ts";
import type { MetricsSources } from "../worker/metrics-server.ts";
import { StartError } from "../worker/start-error.ts";
import { readStatus, type StatusSources } from "../worker/status.ts";
import type { ProgramContext } from "./program-context.ts";

/**
 * Serves `/health` and the status page, before anything is known but the options: what takes long at a start is the API.
 * Null where nobody asks for it. Throws StartError.
 */
export async function tryListenForHealth(
  known: StatusSources,
  { logging }: ProgramContext,
): Promise<Disposable | null> {
  const { healthcheck, querySeconds } = known.options;
  if (!healthcheck) return null;
  try {
    return await startHealthServer({
      ...healthcheck,
      querySeconds,
      lastPollAt: () => lastSignOfLife(known),
      pollsFailingSince: () => known.worker?.polls.health.failingSince,
      status: () => readStatus(known, bothClocks()),
      redact: logging.redact,
      log: logging.logger,
    });
  } catch (error) {
    const { host, port } = healthcheck;
    const settings = "PREFECT_WORKER_WEBSERVER_HOST or PREFECT_WORKER_WEBSERVER_PORT";
    throw cannotListen("healthcheck", `${host}:${port}`, error, settings);
  }
}

/**
 * The last poll, on the monotonic clock, or later: a worker that waits for the API's maintenance to be over, or that stops, is
 * not stuck because it does not poll. Source: prefect workers/server.py.
 */
export function lastSignOfLife({ worker, startedAt, api, stop }: StatusSources): number {
  if (stop.aborted) return monotonicMs();
  return Math.max(worker?.lastPollAt ?? startedAt, api?.maintenanceAt() ?? Number.NEGATIVE_INFINITY);
}

/** Serves the metrics; null where nobody asks for them. Throws StartError. */
export async function tryListenForMetrics(
  sources: MetricsSources,
  { settings: { values } }: ProgramContext,
): Promise<Disposable | null> {
  if (!values.PREFECT_CLIENT_METRICS_ENABLED) return null;
  const port = values.PREFECT_CLIENT_METRICS_PORT;
  const { startMetricsServer } = await import("../worker/metrics-server.ts");
  try {
    return await startMetricsServer(port, sources);
  } catch (error) {
    throw cannotListen("metrics", `port ${port}`, error, "PREFECT_CLIENT_METRICS_PORT");
  }
}

function cannotListen(server: string, address: string, error: unknown, settings: string): StartError {
  const { code, message } = error as NodeJS.ErrnoException;
  return new StartError(`The ${server} server cannot listen on ${address} (${code ?? message}). Set ${settings}.`);
}
