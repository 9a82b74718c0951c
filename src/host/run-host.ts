// A program from its first worker to its last report: runs the workers together, drains, sends what is left, closes.
import { setMaxListeners } from "node:events";
import type { LogShipper } from "../api/log-shipper.ts";
import { runTogether } from "../async/run-together.ts";
import { sleep } from "../async/sleep.ts";
import { type PinoRecord, pythonLevel } from "../logger.ts";
import { terminateGraceMs } from "../process/terminate.ts";
import type { InitialPool } from "../worker/initial-pool.ts";
import { runWorker } from "../worker/run-worker.ts";
import type { Worker } from "../worker/worker.ts";
import type { Host } from "./host.ts";
import { StopRequested } from "./stop-control.ts";

/** What the last reports about flow runs get before the program ends, and then the last events. */
const farewellMs = 5_000;
/** What the last log records get: a server that is only busy shall have them. */
const logFarewellMs = 10_000;
/** After `kill`, processes get their grace and reports this long. A server that is away must not hold the program. */
const killedReportMs = 30_000;

/**
 * Runs the workers until `drain` aborts and the last flow run has left. Throws what ends a worker: an API that refuses it,
 * or that failed too often. Flow runs in flight are awaited first.
 */
export async function runHost(host: Host, pools: ReadonlyMap<Worker, InitialPool>): Promise<void> {
  const { options, eventPublisher, logShipper, logging, socketAddress, stop } = host.parts;
  const farewell = new AbortController();
  setMaxListeners(0, farewell.signal, stop.drain, stop.kill, stop.leave);
  const onKill = (): void => killAll(host, farewell.signal);
  stop.kill.addEventListener("abort", onKill, { signal: farewell.signal });
  if (logShipper) logging.onRecord = (record) => shipRecord(logShipper, host.workers, record);
  const sending = Promise.all([eventPublisher.run(farewell.signal), logShipper?.run(farewell.signal)]);
  try {
    await runTogether(
      stop.drain,
      [...pools].map(
        ([worker, pool]) =>
          (drain) =>
            runWorker(worker, pool, { socketAddress, runOnce: options.runOnce, farewell: farewell.signal }, drain),
      ),
    );
  } finally {
    await host.background.waitForAll(AbortSignal.timeout(farewellMs));
    await Promise.all([
      eventPublisher.flush(AbortSignal.timeout(farewellMs)),
      logShipper?.finish(AbortSignal.timeout(logFarewellMs)),
    ]);
    farewell.abort();
    await sending;
    for (const { identity } of host.workers) logging.announce(`Worker '${identity.name}' stopped!`);
  }
}

/** Stops all flow runs. What they have to report gets a bounded time, after which the program leaves with an error. */
function killAll({ workers, parts: { stop, logging } }: Host, over: AbortSignal): void {
  const by = (stop.kill.reason as StopRequested).message;
  for (const worker of workers) worker.runs.stopAll({ kind: "kill", by });
  const limitMs = terminateGraceMs + killedReportMs;
  void sleep(limitMs, AbortSignal.any([over, stop.leave])).then(() => {
    if (over.aborted || stop.leave.aborted) return;
    const left = workers.flatMap(({ runs }) => runs.list()).map(({ flowRun }) => `'${flowRun.name}'`);
    logging.logger.error(
      `The server could not be told within ${limitMs / 1000} s how these flow runs ended: ${left.join(", ") || "none"}. Leaving.`,
    );
    stop.ask("leave", new StopRequested("waited too long for the server", 1));
  });
}

/** What the reference sends to the API: records about flow runs, and on Cloud, where workers have ids, the workers'. */
function shipRecord(shipper: LogShipper, workers: readonly Worker[], record: PinoRecord): void {
  const flowRunId = record.name === "prefect.flow_runs.worker" ? record.flow_run_id : undefined;
  const isOf = ({ runs, log }: Worker): boolean =>
    flowRunId === undefined ? log.bindings().name === record.name : runs.find(flowRunId) !== undefined;
  const workerId = workers.find(isOf)?.identity.id();
  if (flowRunId === undefined && !(workerId && record.name.startsWith("prefect.workers."))) return;
  shipper.ship({
    name: record.name,
    level: pythonLevel(record.level),
    message: record.err ? `${record.msg}\n${record.err.stack ?? record.err.message}` : record.msg,
    timestamp: new Date(record.time).toISOString(),
    flow_run_id: flowRunId ?? null,
    task_run_id: null,
    ...(workerId ? { worker_id: workerId } : {}),
  });
}
