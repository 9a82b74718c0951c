// Checks the size limit of requests. Log records are sent in batches, and many proxies refuse requests over 1 MiB.
import { UnreachableError } from "../api/errors.ts";
import { LinkedController } from "../async/linked-controller.ts";
import { sleep } from "../async/sleep.ts";
import type { Settings } from "../settings/settings.ts";
import type { ApiAccess, Check, Examination } from "./check.ts";
import { type Finding, pass, skip, warn } from "./finding.ts";

const name = "body limit";
/** The largest batch that engines send. Source: prefect settings/models/logging.py batch_size. */
const engineBatchBytes = 4_000_000;
/** Slightly more than 1 MiB, the limit of most proxies. */
const overUsualLimitBytes = 1_100_000;
/** The check gives up early, because a slow network is no fault, and the other checks need the network too. */
const timeLimitMs = 2_500;

/**
 * Checks whether requests as large as batches of log records arrive. Skipped for Cloud, which has no reverse proxy of
 * the user.
 */
export const bodyLimitCheck: Check = {
  name,
  needs: "authentication",
  lateFinding: skip(name, "not found out in time"),
  run: checkBodyLimit,
};

async function checkBodyLimit({ access, settings, signal }: Examination): Promise<Finding[]> {
  const { api, connection } = await access;
  if (connection.isCloud) return [];
  using timeLimit = new LinkedController(signal);
  const inTime = timeLimit.signal;
  const timer = sleep(timeLimitMs, inTime).then(() => timeLimit.abort());
  const largestBytes = batchBytes(settings);
  let arrivedBytes = 0;
  try {
    // On a slow network, only the first and smaller request may arrive in time.
    for (const bytes of new Set([Math.min(largestBytes, overUsualLimitBytes), largestBytes])) {
      const obstacle = await tryBody(api, bytes, inTime);
      if (obstacle !== undefined) return [warn(name, obstacle, adviceFor(largestBytes))];
      arrivedBytes = bytes;
    }
  } catch (error) {
    if (signal.aborted || !inTime.aborted) throw error;
  } finally {
    timeLimit.abort();
    await timer;
  }
  if (arrivedBytes === 0) return [skip(name, "not found out in time")];
  const rest = arrivedBytes < largestBytes ? "; larger ones were not tried in time" : "";
  return [pass(name, `a request of ${inMegabytes(arrivedBytes)} arrives${rest}`)];
}

/** Returns what happened to a request of this size, or undefined if it arrived. Throws the abort reason of `signal`. */
async function tryBody(api: ApiAccess["api"], bytes: number, signal: AbortSignal): Promise<string | undefined> {
  // The route only reads and ignores unknown fields, so nothing is stored.
  const body = { limit: 1, lictor_doctor: "x".repeat(bytes) };
  try {
    const { status, headers } = await api.requestRaw("POST", "/work_pools/filter", { body, signal });
    if (status < 300) return undefined;
    const by = headers.server ? ` by ${String(headers.server).slice(0, 40)}` : "";
    const how = status === 413 ? `refused (413)${by}` : `answered with ${status}${by}`;
    return `a request of ${inMegabytes(bytes)} is ${how}`;
  } catch (error) {
    signal.throwIfAborted();
    if (!(error instanceof UnreachableError)) throw error;
    return `a request of ${inMegabytes(bytes)} is broken off (${error.code})`;
  }
}

function inMegabytes(bytes: number): string {
  return `${(bytes / 1_000_000).toFixed(1)} MB`;
}

/** Returns the size of the largest batch of a flow run: the setting, or else the default of engines. */
function batchBytes({ values, origins }: Settings): number {
  const isSet = origins.has("PREFECT_LOGGING_TO_API_BATCH_SIZE");
  return isSet ? values.PREFECT_LOGGING_TO_API_BATCH_SIZE : engineBatchBytes;
}

function adviceFor(bytes: number): string {
  const megabytes = Math.ceil(bytes / 1_000_000) + 1;
  return `Log records of flow runs may be lost: allow larger requests in the proxy (nginx: client_max_body_size ${megabytes}m), or set PREFECT_LOGGING_TO_API_BATCH_SIZE=900000 and PREFECT_LOGGING_TO_API_MAX_LOG_SIZE=800000.`;
}
