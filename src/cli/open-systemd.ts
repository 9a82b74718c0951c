// Opens what sends messages to systemd.
import { longestPauseMs } from "../api/retry.ts";
import { describeWork, isPolling } from "../host/describe-work.ts";
import type { SystemdNotifier } from "../host/systemd-notifier.ts";
import { readSystemdRequest } from "../host/systemd-variables.ts";
import type { StatusSources } from "../status/read-status.ts";
import type { ProgramContext } from "./program-context.ts";

/** Returns what sends messages to systemd. Returns null if systemd expects none. */
export async function openSystemd(
  { env, logging, settings }: ProgramContext,
  sources: StatusSources,
): Promise<SystemdNotifier | null> {
  const request = readSystemdRequest(env, process.pid);
  if (request === undefined) return null;
  const { PREFECT_API_REQUEST_TIMEOUT: timeout, PREFECT_CLIENT_MAX_RETRIES: retries } = settings.values;
  const { PREFECT_CLIENT_RETRY_JITTER_FACTOR: jitter } = settings.values;
  const longestPollMs = (retries + 1) * (timeout * 1000 + longestPauseMs * (1 + jitter));
  const { SystemdNotifier } = await import("../host/systemd-notifier.ts");
  return new SystemdNotifier({
    request,
    path: env.PATH,
    status: () => describeWork(sources),
    isAlive: () => isPolling(sources, longestPollMs),
    stopping: sources.stop.drain,
    log: logging.logger,
  });
}
