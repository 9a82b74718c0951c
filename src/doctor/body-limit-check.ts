// How large a request may be. Log records go in batches, and many proxies refuse requests over 1 MiB.
import { UnreachableError } from "../api/errors.ts";
import { sleep } from "../async/sleep.ts";
import type { Settings } from "../settings/settings.ts";
import type { ApiAccess, Check, Examination } from "./check.ts";
import { type Finding, pass, skip, warn } from "./finding.ts";

const name = "body limit";
/** What the engines of flow runs send at most. Source: prefect settings/models/logging.py batch_size. */
const engineBatchBytes = 4_000_000;
/** Just over the limit that most proxies have, 1 MiB. */
const overUsualLimitBytes = 1_100_000;
/** A slow line is no fault, and the other checks need it too, so the check is given up early. */
const patienceMs = 2_500;

/** Whether requests as large as the batches of log records arrive. Prefect Cloud has no proxy of the user's in front. */
export const bodyLimitCheck: Check = {
  name,
  needs: "authentication",
  late: skip(name, "not found out in time"),
  run: checkBodyLimit,
};

async function checkBodyLimit({ access, settings, signal }: Examination): Promise<Finding[]> {
  const { api, connection } = await access;
  if (connection.isCloud) return [];
  const given = new AbortController();
  const inTime = AbortSignal.any([signal, given.signal]);
  const patience = sleep(patienceMs, inTime).then(() => given.abort());
  const whole = batchBytes(settings);
  let arrived = 0;
  try {
    // Over a slow line the first, smaller one has to do.
    for (const bytes of new Set([Math.min(whole, overUsualLimitBytes), whole])) {
      const obstacle = await tryBody(api, bytes, inTime);
      if (obstacle !== undefined) return [warn(name, obstacle, adviceFor(whole))];
      arrived = bytes;
    }
  } catch (error) {
    if (signal.aborted || !given.signal.aborted) throw error;
  } finally {
    given.abort();
    await patience;
  }
  if (arrived === 0) return [skip(name, "not found out in time")];
  const rest = arrived < whole ? "; larger ones were not tried in time" : "";
  return [pass(name, `a request of ${inMegabytes(arrived)} arrives${rest}`)];
}

/** Returns what happened to a request of that size; undefined if it arrived. Throws the abort reason of `signal`. */
async function tryBody(api: ApiAccess["api"], bytes: number, signal: AbortSignal): Promise<string | undefined> {
  // A read that ignores what it does not know: nothing is stored.
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

/** What flow runs will send: they get the setting if there is one, else they have a default of their own. */
function batchBytes({ values, origins }: Settings): number {
  const isSet = origins.has("PREFECT_LOGGING_TO_API_BATCH_SIZE");
  return isSet ? values.PREFECT_LOGGING_TO_API_BATCH_SIZE : engineBatchBytes;
}

function adviceFor(bytes: number): string {
  const megabytes = Math.ceil(bytes / 1_000_000) + 1;
  return `Log records of flow runs may be lost: allow larger requests in the proxy (nginx: client_max_body_size ${megabytes}m), or set PREFECT_LOGGING_TO_API_BATCH_SIZE=900000 and PREFECT_LOGGING_TO_API_MAX_LOG_SIZE=800000.`;
}
