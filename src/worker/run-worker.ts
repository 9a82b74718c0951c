// Runs one worker: takes its work pool, runs its loops, drains, and sends the event that it has stopped.
import { isTransient } from "../api/errors.ts";
import type { PrefectEvent } from "../api/wire.ts";
import { monotonicMs } from "../async/clock.ts";
import { LinkedController } from "../async/linked-controller.ts";
import { runTogether } from "../async/run-together.ts";
import { sleep, waitAtMost } from "../async/sleep.ts";
import { defaultJobFields } from "../job/job-fields.ts";
import { TemplateError } from "../job/template.ts";
import { JobConfigurationError } from "../job/typed-fields.ts";
import type { SocketAddress } from "../sockets/connect.ts";
import { watchAbandoned } from "./cancellation/abandoned-runs.ts";
import { watchCancellations } from "./cancellation/cancel-watch.ts";
import { keepChannel } from "./channel-loop.ts";
import type { EventFeed } from "./event-feed.ts";
import { watchEvents } from "./event-watch.ts";
import { type InitialPool, noticePausedQueues } from "./initial-pool.ts";
import { poll, pollLoop } from "./poll-loop.ts";
import { StartedPrograms } from "./started-programs.ts";
import { sweepPool } from "./sweep/sweep-pool.ts";
import { sendTemplateAndHeartbeat, syncLoop, takeInitialPool } from "./sync-loop.ts";
import { keepTakingOver, takeOverFirst } from "./take-over.ts";
import { watchWorkers } from "./watch-workers.ts";
import type { Worker } from "./worker.ts";

/** How often a drain logs the flow runs that it waits for. */
const drainReportMs = 30_000;
/** A drain waits this long for a takeover in progress. The disk of the journal may hang. */
const takeOverMs = 5_000;

/** How a worker is run. */
export interface WorkerRun {
  readonly socketAddress: SocketAddress;
  /** The events, which all workers of the program share. */
  readonly feed: EventFeed;
  readonly runOnce: boolean;
  /** Called when the worker has started: it can poll as soon as the API responds. */
  onStarted(): void;
  /** Gets what ends the worker as soon as it is known. The worker throws it when its flow runs have ended. */
  onFailure(error: unknown): void;
  /** Aborts at the end of the program, after the last events and log records were sent. */
  readonly closing: AbortSignal;
}

/**
 * Runs a worker until `drain` aborts and its last flow run has ended. Throws ApiError when the server refuses the worker at
 * its start. Before it throws, it waits for the flow runs in flight. An outage of the API never ends a worker.
 */
export async function runWorker(
  worker: Worker,
  initial: InitialPool,
  run: WorkerRun,
  drain: AbortSignal,
): Promise<void> {
  const { events, pool } = worker;
  const { feed, runOnce, closing } = run;
  using over = new LinkedController(closing);
  const watches = Promise.all([watchEvents(worker, feed, over.signal), watchCancellations(worker, over.signal)]);
  let started: PrefectEvent | null = null;
  try {
    await takeInitialPool(worker, initial, drain);
    const programs = new StartedPrograms(worker);
    await takeOverFirst(worker, programs, drain);
    started = events.started(pool.current);
    worker.services.announce(`Worker '${worker.identity.name}' started!`);
    run.onStarted();
    if (runOnce) await pollOnce(worker, drain);
    else {
      void prepareInfrastructure(worker, drain);
      await runLoops(worker, run, programs, drain);
    }
  } finally {
    if (started) events.stopped(pool.current, started);
    over.abort();
    await watches;
  }
}

/** Never rejects: a base job template that is not valid is reported by the first flow run. */
async function prepareInfrastructure(worker: Worker, drain: AbortSignal): Promise<void> {
  const { infrastructure, pool, services } = worker;
  await worker.firstPoll(drain);
  if (drain.aborted) return;
  try {
    if (pool.current) await infrastructure.prepare?.(defaultJobFields(pool.current, services.environment));
  } catch (error) {
    if (!(error instanceof JobConfigurationError || error instanceof TemplateError)) throw error;
  }
}

/** Sends one heartbeat, polls once, and waits for the flow runs that the poll returned. */
async function pollOnce(worker: Worker, drain: AbortSignal): Promise<void> {
  await sendTemplateAndHeartbeat(worker, drain).catch((error: unknown) => {
    if (drain.aborted || !isTransient(error)) throw error;
    worker.log.warn({ err: error }, "The server could not be told that the worker lives");
  });
  await poll(worker, drain);
  await noticePausedQueues(worker, drain);
  await waitUntilDrained(worker);
}

/** Polls until `drain` aborts and waits for the flow runs in flight. The heartbeats continue until then. */
async function runLoops(
  worker: Worker,
  { socketAddress, onFailure }: WorkerRun,
  programs: StartedPrograms,
  drain: AbortSignal,
): Promise<void> {
  const drained = new AbortController();
  await runTogether(drained.signal, [
    async (failed) => {
      using end = new LinkedController(drain, failed);
      const takingOver = keepTakingOver(worker, programs, end.signal);
      try {
        await pollLoop(worker, end.signal);
      } catch (error) {
        onFailure(error);
        throw error;
      } finally {
        end.abort();
        // What it has taken has to be waited for too.
        await waitAtMost(takingOver, takeOverMs, worker.services.stop.kill);
        await waitUntilDrained(worker);
        drained.abort();
      }
    },
    async (signal) => {
      await worker.firstPoll(signal);
      await runTogether(signal, [
        (syncing) =>
          syncLoop(worker, syncing).catch((error: unknown) => {
            onFailure(error);
            throw error;
          }),
        (connecting) => keepChannel(worker, socketAddress, connecting),
        (watching) => watchAbandoned(worker, watching),
        async (failed) => {
          using end = new LinkedController(drain, failed);
          await sweepPool(worker, end.signal);
        },
        (watching) => watchWorkers(worker, watching),
        (noticing) => noticePausedQueues(worker, noticing),
      ]);
    },
  ]);
}

/** Waits for the flow runs in flight, and logs their names at once and then every 30 s. */
async function waitUntilDrained(worker: Worker): Promise<void> {
  const over = new AbortController();
  const reporting = reportDrain(worker, over.signal);
  await worker.runs.drained();
  over.abort();
  await reporting;
}

async function reportDrain(worker: Worker, over: AbortSignal): Promise<void> {
  while (!over.aborted) {
    const running = worker.runs.list();
    if (running.length > 0) {
      const names = running.map(
        ({ flowRun, takenAt }) => `'${flowRun.name}' (${Math.round((monotonicMs() - takenAt) / 1000)} s)`,
      );
      worker.log.info(`Waiting for ${running.length} flow run(s) to end: ${names.join(", ")}`);
    }
    await sleep(drainReportMs, over);
  }
}
