// Takes scheduled flow runs: at once when an event tells of them, and every so often, since events may be missed.
// Source: prefect workers/base.py get_and_submit_flow_runs.
import { hasStatus } from "../api/errors.ts";
import { filterFlowRuns } from "../api/flow-runs.ts";
import type { FlowRun, ScheduledFlowRun } from "../api/wire.ts";
import { getScheduledFlowRuns } from "../api/work-pools.ts";
import { bothClocks, monotonicMs, wallClockMs } from "../async/clock.ts";
import { sleep } from "../async/sleep.ts";
import type { WakeReason } from "../async/wake.ts";
import { executeFlowRun } from "../run/execute-flow-run.ts";
import { serviceLoop } from "./service-loop.ts";
import type { Worker } from "./worker.ts";

/** A burst of events, of free slots, or of times that come makes one poll at once and then one per this time. */
const shortestGapMs = 200;
/** While events come, the regular polls are as rare as the jitter lets them be at times anyway: 12 to 13 s, not 7.5 to 13. */
const pauseWithEvents = 1.2;
/** The jitter's upper bound, and some time for the poll itself: what is scheduled until then, the next poll may be late for. */
const longestPause = 1.3;
const pollMs = 1_000;

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
        polledAt = monotonicMs();
        await poll(worker, signal);
        await readAnnounced(worker, signal);
      },
      wait: async (ms, signal) => {
        const pauseMs = worker.eventsConnected ? Math.max(ms, querySeconds * 1000 * pauseWithEvents) : ms;
        const reason = await sleepUntilPoll(worker, { pauseMs, polledAt }, signal);
        worker.log.debug({ reason }, "poll");
        if (reason !== "timeout") await sleep(polledAt + shortestGapMs - monotonicMs(), signal);
      },
    },
    stop,
  );
}

/**
 * Sleeps until there is a reason to poll. Neither an event about a flow run that others come first for is one, nor the
 * time at which it would be this worker's turn if its claim has been heard of by then.
 */
async function sleepUntilPoll(
  worker: Worker,
  { pauseMs, polledAt }: { pauseMs: number; polledAt: number },
  signal: AbortSignal,
): Promise<WakeReason> {
  const regularAt = monotonicMs() + pauseMs;
  for (;;) {
    const now = monotonicMs();
    const dueInMs = Math.max(worker.announced.dueInMs(now), polledAt + shortestGapMs - now);
    const reason = await worker.wake.sleep(Math.max(0, Math.min(regularAt - now, dueInMs)), signal);
    const isRegular = reason === "timeout" ? monotonicMs() >= regularAt : reason !== "event";
    if (isRegular || worker.announced.isDue(monotonicMs())) return reason;
  }
}

/** Asks once for scheduled flow runs, starts what there are slots for, and remembers when the next ones are due. */
export async function poll(worker: Worker, signal: AbortSignal): Promise<void> {
  if (!worker.pool) {
    worker.lastPollAt = monotonicMs();
    return;
  }
  // No flow run may be claimed before it is known what will run it.
  await worker.python;
  worker.announced.beforePoll(monotonicMs());
  worker.leftBehind = false;
  const scheduled = await readScheduled(worker, signal);
  worker.lastPollAt = monotonicMs();
  const now = worker.announced.takeDue(scheduled, bothClocks());
  for (const flowRun of worker.declined.sortLast(now)) {
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
    start(worker, flowRun, slot);
  }
}

/** Starts a flow run; its end is a reason to poll where another one may have waited for it. */
function start(worker: Worker, flowRun: FlowRun, slot: Disposable): void {
  let isNews = true;
  worker.inFlight.start(
    flowRun,
    async (end) => {
      const isClaimed = await executeFlowRun(worker, flowRun, slot, end);
      // The same answer as before is no news: with it, the two would ask each other for ever.
      isNews = worker.declined.note(flowRun.id, !isClaimed) || isClaimed;
    },
    () => {
      if (isNews && (worker.leftBehind || worker.pool?.concurrency_limit != null)) worker.wake.wake("slot");
    },
  );
}

async function readScheduled(worker: Worker, signal: AbortSignal): Promise<ScheduledFlowRun[]> {
  const { workPoolName, workQueueNames, prefetchSeconds, querySeconds } = worker.options;
  const untilNextPollMs = querySeconds * 1000 * longestPause + pollMs;
  // Under a limit of the pool a flow run that is not due yet may take the place of one that is.
  const aheadMs = worker.pool?.concurrency_limit == null ? untilNextPollMs : 0;
  const scheduledBefore = new Date(wallClockMs() + Math.max(Math.trunc(prefetchSeconds) * 1000, aheadMs));
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
    try {
      const flowRuns = await filterFlowRuns(worker.api, { id: { any_: ids } }, { signal });
      worker.announced.read(ids, flowRuns, bothClocks());
    } catch (error) {
      signal.throwIfAborted();
      // The regular poll finds them too. Servers before 3.9.1 fail over a flow run with an integer beyond 64 bits.
      worker.log.debug({ err: error, flow_run_ids: ids }, "announced flow runs could not be looked up");
      worker.announced.forget(ids);
    }
  }
}
