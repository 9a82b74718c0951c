// Reads log records of flow runs. Source: prefect server/api/logs.py.
import type { Api } from "./api.ts";
import { integer, listOf, object, string, text } from "./json-check.ts";
import type { LogRecord } from "./wire.ts";

/** A log record as the server has it. */
export interface StoredLogRecord extends Omit<LogRecord, "task_run_id"> {
  readonly id: string;
}

const shape = listOf(object({ id: text, name: string, level: integer, message: string, timestamp: text }));
/** The most records that a server returns per request. */
const pageSize = 200;

/** Returns all log records of a flow run from `after` on, oldest first. Throws the errors of `Api.request`. */
export async function readLogs(
  api: Api,
  flowRunId: string,
  after: Date,
  signal?: AbortSignal,
): Promise<StoredLogRecord[]> {
  const found: StoredLogRecord[] = [];
  for (;;) {
    const logs = { flow_run_id: { any_: [flowRunId] }, timestamp: { after_: after.toISOString() } };
    const body = { logs, sort: "TIMESTAMP_ASC", offset: found.length, limit: pageSize };
    const page = (await api.request("POST", "/logs/filter", { shape, body, signal })) as unknown as StoredLogRecord[];
    found.push(...page);
    if (page.length < pageSize) return found;
  }
}
