// Runs all workers of the program, drains them, and sends the last events and log records.
import { setMaxListeners } from "node:events";
import type { LogShipper } from "../api/log-shipper.ts";
import { timeoutSignal } from "../async/clock.ts";
import { LinkedController } from "../async/linked-controller.ts";
import { runTogether } from "../async/run-together.ts";
import { sleep, waitAtMost } from "../async/sleep.ts";
import { type PinoRecord, pythonLevel } from "../logger.ts";
import { terminateGraceMs } from "../process/terminate.ts";
import { hookGraceMs } from "../program/run-hooks.ts";
import type { RunRecord } from "../run/run-record.ts";
import { lastHooksMs } from "../run/watch.ts";
import { EventFeed } from "../worker/event-feed.ts";
import type { InitialPool } from "../worker/initial-pool.ts";
import { runWorker } from "../worker/run-worker.ts";
import type { Worker } from "../worker/worker.ts";
import type { Host } from "./host.ts";
import { StopRequested } from "./stop-control.ts";

/** The time limit for the last reports about flow runs, and then for the last events. */
const lastReportsMs = 5_000;
/** The time limit for the last log records. It is longer, because a busy server should still get them. */
const lastLogRecordsMs = 10_000;
/**
 * The time limit for processes and reports after `kill`, 60 s. Processes get 30 s between SIGTERM and SIGKILL. The other
 * 30 s are for reports, because an outage must not keep the program alive.
 */
const reportsAfterKillMs = terminateGraceMs + 30_000;
/**
 * The time limit for hooks after that, 35 s. Hooks that start just before the first limit may run for 30 s. Then they get 5 s
 * between SIGTERM and SIGKILL. In all, flow runs end within 95 s. If all have ended, the last events and log records get
 * their 15 s.
 */
const hooksAfterKillMs = lastHooksMs + hookGraceMs;

/**
 * Runs the workers until `drain` aborts and the last flow run has ended. Throws the error that ends a worker, because
 * the API refuses it at its start. Waits for the flow runs in flight before it throws.
 */
export async function runHost(host: Host, pools: ReadonlyMap<Worker, InitialPool>): Promise<void> {
  const { options, eventPublisher, logShipper, logging, socketAddress, stop } = host.services;
  const closing = new AbortController();
  setMaxListeners(0, closing.signal, stop.drain, stop.kill, stop.leave);
  const onKill = (): void => killAll(host, closing.signal);
  // Without the option `signal`: Node.js would keep all later listeners of that signal, until `stop.kill` is collected.
  stop.kill.addEventListener("abort", onKill);
  if (logShipper) logging.onRecord = (record) => shipRecord(logShipper, host.workers, record);
  const feed = feedOf(host);
  const services = Promise.all([
    feed.run(closing.signal),
    publishEvents(host, closing.signal),
    logShipper?.run(closing.signal),
  ]);
  const onFailure = (error: unknown): void => drainAfterFailure(host, error);
  let starting = pools.size;
  const onStarted = (): void => {
    if (--starting === 0) host.services.onStarted();
  };
  const run = { socketAddress, feed, runOnce: options.runOnce, closing: closing.signal, onStarted, onFailure };
  try {
    await runTogether(
      stop.drain,
      [...pools].map(
        ([worker, pool]) =>
          (drain) =>
            runWorker(worker, pool, run, drain),
      ),
    );
  } finally {
    await host.background.close(timeoutSignal(lastReportsMs));
    await Promise.all([
      eventPublisher.flush(timeoutSignal(lastReportsMs)),
      logShipper?.finish(timeoutSignal(lastLogRecordsMs)),
    ]);
    stop.kill.removeEventListener("abort", onKill);
    closing.abort();
    await services;
    for (const { identity } of host.workers) logging.announce(`Worker '${identity.name}' stopped!`);
  }
}

function feedOf({ workers, services: { socketAddress, logging, random } }: Host): EventFeed {
  const isObserved = workers.some(({ options }) => options.isObserved);
  return new EventFeed({ address: socketAddress, isObserved, log: logging.named("prefect.workers"), random });
}

/** Sends events until `closing` aborts. The first poll comes first. */
async function publishEvents(host: Host, closing: AbortSignal): Promise<void> {
  await host.firstPoll(closing);
  await host.services.eventPublisher.run(closing);
}

/** Drains all workers because one has failed. Says why at once, unless there is nothing to wait for. */
function drainAfterFailure({ workers, services: { stop, logging } }: Host, error: unknown): void {
  if (stop.drain.aborted) return;
  const hasToWait = workers.some(({ runs }) => runs.list().length > 0);
  if (hasToWait) logging.logger.error({ err: error }, "A worker has failed. Taking no new flow runs");
  stop.request("drain", new StopRequested("failed", 1));
}

/** Stops all flow runs. After time limits for their reports and hooks, the program exits with an error. */
function killAll(host: Host, over: AbortSignal): void {
  const { stop } = host.services;
  const by = (stop.kill.reason as StopRequested).message;
  for (const worker of host.workers) worker.runs.stopAll({ kind: "kill", by });
  const end = new LinkedController(over, stop.leave);
  setMaxListeners(0, end.signal);
  void waitForLimits(host, end.signal).then(() => {
    if (!end.signal.aborted) stop.request("leave", new StopRequested("waited too long for its flow runs", 1));
  });
}

/** Waits for the time limits of reports and hooks, or until `ended` aborts. Logs the flow runs that are left. */
async function waitForLimits({ workers, services: { logging } }: Host, ended: AbortSignal): Promise<void> {
  await sleep(reportsAfterKillMs, ended);
  if (ended.aborted) return;
  const left = (): RunRecord[] => workers.flatMap(({ runs }) => runs.list());
  const inHooks = left().filter(({ phase }) => phase === "hooks");
  const unreported = left().filter(({ phase }) => phase !== "hooks" && phase !== "leftovers");
  if (unreported.length > 0) {
    logging.logger.error(
      `The server could not be told within ${reportsAfterKillMs / 1000} s how these flow runs ended: ${namesOf(unreported)}.`,
    );
  }
  const hooksEnd = workers.flatMap(({ runs }) => inHooks.map(({ flowRun }) => runs.left(flowRun.id)));
  await waitAtMost(Promise.all(hooksEnd), hooksAfterKillMs, ended);
  const late = inHooks.filter(({ phase }) => phase === "hooks");
  if (ended.aborted) return;
  if (late.length > 0) logging.logger.error(`The hooks of these flow runs did not end in time: ${namesOf(late)}.`);
  if (unreported.length + late.length > 0) return;
  await sleep(lastReportsMs + lastLogRecordsMs, ended);
  if (!ended.aborted) logging.logger.error("The last events and log records could not be sent in time.");
}

function namesOf(runs: readonly RunRecord[]): string {
  return runs.map(({ flowRun }) => `'${flowRun.name}'`).join(", ");
}

/**
 * Sends the same records as the reference: those about flow runs, and on Cloud, where workers have ids, those of
 * workers.
 */
function shipRecord(shipper: LogShipper, workers: readonly Worker[], record: PinoRecord): void {
  const flowRunId = record.name === "prefect.flow_runs.worker" ? record.flow_run_id : undefined;
  const isOf = ({ runs, options }: Worker): boolean =>
    flowRunId === undefined ? options.workPoolName === record.work_pool : runs.find(flowRunId) !== undefined;
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
