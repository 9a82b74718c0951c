// Reads the latest log records of one flow run for the status page.
import { levelNames, readLogPages } from "../api/logs.ts";
import type { Worker } from "../worker/worker.ts";
import type { LogTail } from "./page/status-json.ts";

const most = 100;
/** Shorter than the time limit of the page. */
const timeoutMs = 4000;

/**
 * Returns the latest log records that the server has of a flow run. Returns null if no worker of this program has the flow run in
 * flight or among those that ended last. Throws the errors of `Api.request`, and the reason of a timeout.
 */
export async function readLogTail(
  workers: readonly Pick<Worker, "api" | "runs" | "history">[],
  flowRunId: string,
): Promise<LogTail | null> {
  const worker = workers.find(
    ({ runs, history }) =>
      runs.list().some(({ flowRun }) => flowRun.id === flowRunId) || history.ended.some(({ id }) => id === flowRunId),
  );
  if (!worker) return null;
  const signal = AbortSignal.timeout(timeoutMs);
  const records = [];
  for await (const page of readLogPages(worker.api, flowRunId, { order: "TIMESTAMP_DESC", most, signal })) {
    records.push(...page);
  }
  return {
    records: records.reverse().map(({ timestamp, level, message }) => {
      return { at: Date.parse(timestamp), level: levelNames[level] ?? String(level), message };
    }),
  };
}
