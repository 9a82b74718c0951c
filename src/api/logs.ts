// Reads log records of flow runs. Source: prefect server/api/logs.py.
import type { Api } from "./api.ts";
import { integer, listOf, object, string, text } from "./json-check.ts";
import type { Json } from "./wire.ts";

/** A log record as the server returns it. `level` is Python's: 20 is INFO. */
export interface StoredLogRecord {
  readonly id: string;
  readonly name: string;
  readonly level: number;
  readonly message: string;
  readonly timestamp: string;
  readonly [field: string]: Json;
}

/** The names of Python's levels. */
export const levelNames: Readonly<Record<number, string>> = {
  10: "DEBUG",
  20: "INFO",
  30: "WARNING",
  40: "ERROR",
  50: "CRITICAL",
};

const shape = listOf(object({ id: text, name: string, level: integer, message: string, timestamp: text }));
/** The most records that a server returns per request. */
const pageSize = 200;

/** Which log records: those from `after` on, at most so many, oldest or newest first. */
export interface LogRange {
  readonly order: "TIMESTAMP_ASC" | "TIMESTAMP_DESC";
  readonly after?: Date;
  readonly most?: number;
  /** An abort ends the request. The abort reason is thrown. */
  readonly signal?: AbortSignal;
}

/** Yields the log records of a flow run, page by page. Throws the errors of `Api.request`. */
export async function* readLogPages(
  api: Api,
  flowRunId: string,
  { order, after, most = Number.POSITIVE_INFINITY, signal }: LogRange,
): AsyncGenerator<StoredLogRecord[]> {
  const logs = { flow_run_id: { any_: [flowRunId] }, ...(after && { timestamp: { after_: after.toISOString() } }) };
  for (let offset = 0; offset < most; ) {
    const limit = Math.min(pageSize, most - offset);
    const body = { logs, sort: order, offset, limit };
    const page = (await api.request("POST", "/logs/filter", { shape, body, signal })) as unknown as StoredLogRecord[];
    yield page;
    offset += page.length;
    if (page.length < limit) return;
  }
}
