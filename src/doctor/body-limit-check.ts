// How large a request may be. Log records go in batches, and many proxies refuse requests over 1 MiB.
import { UnreachableError } from "../api/errors.ts";
import { sleep } from "../async/sleep.ts";
import type { Settings } from "../settings/load.ts";
import type { Check, Examination } from "./check.ts";
import { type Finding, pass, skip, warn } from "./finding.ts";

const name = "body limit";
/** What the engines of flow runs send at most. Source: prefect settings/models/logging.py batch_size. */
const engineBatchBytes = 4_000_000;
/** A slow line is no fault, so the check is given up early. */
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
  const bytes = batchBytes(settings);
  const given = new AbortController();
  const inTime = AbortSignal.any([signal, given.signal]);
  const patience = sleep(patienceMs, inTime).then(() => given.abort());
  try {
    // A read that ignores what it does not know: nothing is stored.
    const body = { limit: 1, lictor_doctor: "x".repeat(bytes) };
    const { status, headers } = await api.requestRaw("POST", "/work_pools/filter", { body, signal: inTime });
    const size = `${(bytes / 1_000_000).toFixed(1)} MB`;
    if (status === 413) {
      const by = headers.server ? ` by ${String(headers.server).slice(0, 40)}` : "";
      return [warn(name, `a request of ${size} is refused (413)${by}`, adviceFor(bytes))];
    }
    if (status > 299) return [warn(name, `a request of ${size} is answered with ${status}`, adviceFor(bytes))];
    return [pass(name, `a request of ${size} arrives`)];
  } catch (error) {
    if (given.signal.aborted && !signal.aborted) return [skip(name, "not found out in time")];
    if (!(error instanceof UnreachableError)) throw error;
    return [warn(name, `a large request is broken off (${error.code})`, adviceFor(bytes))];
  } finally {
    given.abort();
    await patience;
  }
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
