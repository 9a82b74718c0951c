// Takes scheduled flow runs: at once when an event tells of them, and every so often, since events may be missed.
// Source: prefect workers/base.py get_and_submit_flow_runs.
import { hasStatus } from "../api/errors.ts";
import { filterFlowRuns } from "../api/flow-runs.ts";
import type { ScheduledFlowRun } from "../api/wire.ts";
import { getScheduledFlowRuns } from "../api/work-pools.ts";
import { sleep } from "../async/sleep.ts";
import { executeFlowRun } from "../run/execute-flow-run.ts";
import { serviceLoop } from "./service-loop.ts";
import type { Worker } from "./worker.ts";

/** A burst of events makes one poll at once and then one per this time. */
const shortestGapMs = 200;

/** Polls until `stop` aborts. Throws when the API refuses for good. */
export async function pollLoop(worker: Worker, stop: AbortSignal): Promise<void> {
  const { querySeconds } = worker.options;
  const { announce, random } = worker.dependencies;
  let polledAt = 0;
  await serviceLoop(
    {
      intervalMs: querySeconds * 1000,
      announce,
      random,
      turn: async (signal) => {
        polledAt = Date.now();
        await poll(worker, signal);
        await readAnnounced(worker, signal);
      },
      wait: async (ms, signal) => {
        const reason = await worker.wake.sleep(Math.min(ms, worker.announced.dueInMs(Date.now())), signal);
        worker.log.debug({ reason }, "poll");
        if (reason === "event") await sleep(polledAt + shortestGapMs - Date.now(), signal);
      },
    },
    stop,
  );
}

/** Asks once for scheduled flow runs and starts what there are slots for. */
export async function poll(worker: Worker, signal: AbortSignal): Promise<void> {
  if (!worker.pool) {
    worker.lastPollAt = Date.now();
    return;
  }
  // No flow run may be claimed before it is known what will run it.
  await worker.python;
  worker.announced.beforePoll(Date.now());
  worker.leftBehind = false;
  const scheduled = await readScheduled(worker, signal);
  worker.lastPollAt = Date.now();
  worker.announced.forget(scheduled.map(({ flow_run }) => flow_run.id));
  for (const { flow_run: flowRun } of scheduled) {
    if (signal.aborted) return;
    if (worker.inFlight.has(flowRun.id)) {
      // Rescheduled while its process still lives: it can be taken as soon as that has ended.
      worker.leftBehind = true;
      continue;
    }
    const slot = worker.slots.tryAcquire();
    if (!slot) {
      worker.log.debug({ left: scheduled.length }, "concurrency limit reached");
      worker.leftBehind = true;
      return;
    }
    worker.inFlight.start(
      flowRun,
      (end) => executeFlowRun(worker, flowRun, slot, end),
      () => {
        if (worker.leftBehind || worker.pool?.concurrency_limit != null) worker.wake.wake("slot");
      },
    );
  }
}

async function readScheduled(worker: Worker, signal: AbortSignal): Promise<ScheduledFlowRun[]> {
  const { workPoolName, workQueueNames, prefetchSeconds } = worker.options;
  const scheduledBefore = new Date(Date.now() + Math.trunc(prefetchSeconds) * 1000);
  try {
    return await getScheduledFlowRuns(worker.api, workPoolName, { workQueueNames, scheduledBefore }, { signal });
  } catch (error) {
    // The pool or a queue does not exist (yet): nothing is scheduled in it.
    if (hasStatus(error, 404)) return [];
    throw error;
  }
}

/** Finds out when announced flow runs are due that the poll did not return: scheduled for later, or taken by others. */
async function readAnnounced(worker: Worker, signal: AbortSignal): Promise<void> {
  worker.announced.forget(worker.inFlight.list().map(({ flowRun }) => flowRun.id));
  for (let ids = worker.announced.unread(); ids.length > 0; ids = worker.announced.unread()) {
    const flowRuns = await filterFlowRuns(worker.api, { id: { any_: ids } }, { signal });
    worker.announced.read(ids, flowRuns, Date.now());
  }
}
