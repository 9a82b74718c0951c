// One worker from its first call to its last: opens in order, runs the loops together, drains, closes.
import { setMaxListeners } from "node:events";
import { isTransient } from "../api/errors.ts";
import type { LogShipper } from "../api/log-shipper.ts";
import type { PrefectEvent } from "../api/wire.ts";
import { monotonicMs } from "../async/clock.ts";
import { runTogether } from "../async/run-together.ts";
import { sleep } from "../async/sleep.ts";
import type { Logging, PinoRecord } from "../logger.ts";
import { pythonLevel } from "../logger.ts";
import type { SocketAddress } from "../sockets/connect.ts";
import type { EventPublisher } from "../sockets/event-publisher.ts";
import { watchAbandoned } from "./abandoned-runs.ts";
import { watchCancellations } from "./cancel-watch.ts";
import { keepChannel } from "./channel-loop.ts";
import { watchEvents } from "./event-watch.ts";
import { poll, pollLoop } from "./poll-loop.ts";
import { noticePausedQueues, type StartAnswer, type StartQuestion } from "./start-checks.ts";
import { sendTemplateAndHeartbeat, syncLoop, takeStartPool } from "./sync-loop.ts";
import { watchWorkers } from "./watch-workers.ts";
import type { Worker } from "./worker.ts";

/** How often a drain says what it waits for. */
const drainReportMs = 30_000;
/** What the last reports about flow runs get before the worker leaves, and then the last events. */
const farewellMs = 5_000;
/** What the last log records get: a server that is only busy shall have them. */
const logFarewellMs = 10_000;

/** What runs beside the worker and leaves after it. */
export interface WorkerConnections {
  socketAddress: SocketAddress;
  eventPublisher: EventPublisher;
  logShipper: LogShipper | null;
  logging: Logging;
  question: StartQuestion;
}

/**
 * Runs a worker until `stop` aborts and its last flow run has ended, which `kill` hastens. Throws what ends a worker: an API that refuses it,
 * or one that failed too often; flow runs in flight are awaited before.
 */
export async function runWorker(
  worker: Worker,
  start: StartAnswer,
  connections: WorkerConnections,
  { stop, kill }: { stop: AbortSignal; kill: AbortSignal },
): Promise<void> {
  const { eventPublisher, logShipper, logging, socketAddress } = connections;
  const farewell = new AbortController();
  setMaxListeners(0, farewell.signal, stop, worker.leave);
  kill.addEventListener("abort", () => worker.inFlight.endAll({ kind: "kill", by: kill.reason.message }));
  if (logShipper) logging.onRecord = (record) => shipRecord(logShipper, worker, record);
  const connected = Promise.all([
    eventPublisher.run(farewell.signal),
    watchEvents(worker, socketAddress, farewell.signal),
    watchCancellations(worker, farewell.signal),
    logShipper?.run(farewell.signal),
  ]);
  let started: PrefectEvent | null = null;
  try {
    await takeStartPool(worker, start, stop);
    started = worker.events.started(worker.pool);
    if (worker.options.runOnce) await runOnce(worker, stop);
    else await runLoops(worker, connections, stop);
  } finally {
    if (started) worker.events.stopped(worker.pool, started);
    await worker.background.settled(AbortSignal.timeout(farewellMs));
    await Promise.all([
      eventPublisher.flush(AbortSignal.timeout(farewellMs)),
      logShipper?.finish(AbortSignal.timeout(logFarewellMs)),
    ]);
    farewell.abort();
    await connected;
    worker.dependencies.announce(`Worker '${worker.workerName}' stopped!`);
  }
}

/** One sync, one poll, and the flow runs it found. */
async function runOnce(worker: Worker, stop: AbortSignal): Promise<void> {
  await sendTemplateAndHeartbeat(worker, stop).catch((error: unknown) => {
    if (stop.aborted || !isTransient(error)) throw error;
    worker.log.warn({ err: error }, "The server could not be told that the worker lives");
  });
  worker.dependencies.announce(`Worker '${worker.workerName}' started!`);
  await poll(worker, stop);
  await drain(worker);
}

/** Polls until told to stop, drains, and only then lets the heartbeat end. */
async function runLoops(
  worker: Worker,
  { question, socketAddress }: WorkerConnections,
  stop: AbortSignal,
): Promise<void> {
  const drained = new AbortController();
  worker.dependencies.announce(`Worker '${worker.workerName}' started!`);
  await runTogether(drained.signal, [
    async (failed) => {
      try {
        await pollLoop(worker, AbortSignal.any([stop, failed]));
      } finally {
        await drain(worker);
        drained.abort();
      }
    },
    (signal) => syncLoop(worker, signal),
    (signal) => keepChannel(worker, socketAddress, signal),
    (signal) => watchAbandoned(worker, signal),
    (signal) => watchWorkers(worker, signal),
    (signal) => noticePausedQueues(question, signal),
  ]);
}

/** Waits for the flow runs in flight; says at once and then every so often which they are. */
async function drain(worker: Worker): Promise<void> {
  const over = new AbortController();
  const reporting = reportDrain(worker, over.signal);
  await worker.inFlight.drained();
  over.abort();
  await reporting;
}

async function reportDrain(worker: Worker, over: AbortSignal): Promise<void> {
  while (!over.aborted) {
    const running = worker.inFlight.list();
    if (running.length > 0) {
      const names = running.map(
        ({ flowRun, since }) => `'${flowRun.name}' (${Math.round((monotonicMs() - since) / 1000)} s)`,
      );
      worker.log.info(`Waiting for ${running.length} flow run(s) to end: ${names.join(", ")}`);
    }
    await sleep(drainReportMs, over);
  }
}

/** What the reference sends to the API: records about flow runs, and on Cloud, where workers have ids, the worker's. */
function shipRecord(shipper: LogShipper, worker: Worker, record: PinoRecord): void {
  const workerId = worker.workerId();
  const ofFlowRun = record.name === "prefect.flow_runs.worker" && record.flow_run_id !== undefined;
  if (!ofFlowRun && !(workerId && record.name.startsWith("prefect.workers."))) return;
  shipper.ship({
    name: record.name,
    level: pythonLevel(record.level),
    message: record.err ? `${record.msg}\n${record.err.stack ?? record.err.message}` : record.msg,
    timestamp: new Date(record.time).toISOString(),
    flow_run_id: (ofFlowRun && record.flow_run_id) || null,
    task_run_id: null,
    ...(workerId ? { worker_id: workerId } : {}),
  });
}
