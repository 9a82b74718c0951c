// Polls for scheduled flow runs and takes them. An event causes a poll at once. Regular polls find what events missed.
// Source: prefect workers/base.py get_and_submit_flow_runs.
import type { ScheduledFlowRun, WorkPool } from "../api/wire.ts";
import { isMissing } from "../api/work-pools.ts";
import { bothClocks, monotonicMs, wallClockMs } from "../async/clock.ts";
import { sleep } from "../async/sleep.ts";
import { live } from "../run/live.ts";
import { createRunRecord } from "../run/run-record.ts";
import { serviceLoop } from "./service-loop.ts";
import { inheritLateClaim } from "./take-over.ts";
import type { Worker } from "./worker.ts";

/** A burst of events, free slots, or due times causes one poll at once, and then one poll per this time. */
const shortestGapMs = 200;
/** While events arrive, regular polls are 1.2 to 1.3 intervals apart, which is the upper end of their jitter. */
const intervalFactorWithEvents = 1.2;
/** The upper end of the jitter, and some time for the request. The poll looks ahead as far as the next one may be. */
const longestIntervalFactor = 1.3;
const requestMs = 1_000;
/** A response may hold only some of the due flow runs. They are claimed within this time; then the rest is polled for. */
const betweenPartsMs = 500;
/** If no flow run was taken for this time, the rest waits for the regular poll. */
const recentlyTakenMs = 5_000;

/** Polls until `drain` aborts. Throws ApiError only if the server refuses the first poll, because a setting is wrong. */
export async function pollLoop(worker: Worker, drain: AbortSignal): Promise<void> {
  const { polling, outage } = worker;
  let polledAt = Number.NEGATIVE_INFINITY;
  let hasFailed = false;
  await serviceLoop(
    {
      name: "polls",
      intervalMs: worker.options.querySeconds * 1000,
      hasWorked: () => polling.hasWorked,
      outage,
      random: worker.services.random,
      turn: async (signal) => {
        polledAt = monotonicMs();
        polling.turnedAt = polledAt;
        hasFailed = true;
        await poll(worker, signal);
        await lookUpAnnounced(worker, signal);
        hasFailed = false;
      },
      wait: async (ms, signal) => {
        polling.turnedAt = monotonicMs();
        if (hasFailed) await waitForRecovery(worker, ms, signal);
        else await waitForReason(worker, { ms, polledAt }, signal);
      },
    },
    drain,
  );
}

/** Waits after a failure. Events do not end the wait, only a new connection does: the server may be back. */
async function waitForRecovery({ polling }: Worker, ms: number, signal: AbortSignal): Promise<void> {
  const until = monotonicMs() + ms;
  while (!signal.aborted && monotonicMs() < until) {
    if ((await polling.wake.sleep(until - monotonicMs(), signal)) === "connected") return;
  }
}

/**
 * Waits until there is a reason to poll, at most `ms` milliseconds, or a little longer while events arrive. An event is no
 * reason while other workers come first for its flow run. While no slot is free or the machine is closed, an event or a due
 * time only sets `isRunLeft`. Then the next free slot or the end of the pause causes a poll.
 */
async function waitForReason(
  worker: Worker,
  { ms, polledAt }: { ms: number; polledAt: number },
  signal: AbortSignal,
): Promise<void> {
  const { polling, runs, services, sockets, options } = worker;
  const pauseMs = sockets.eventsConnected ? Math.max(ms, options.querySeconds * 1000 * intervalFactorWithEvents) : ms;
  const until = monotonicMs() + pauseMs;
  const nextPartAt = monotonicMs() + nextPartInMs(worker);
  for (;;) {
    const now = monotonicMs();
    const wasClosed = services.machine.isClosed;
    const nextInMs = Math.min(runs.expected.nextDueInMs(now), nextPartAt - now);
    const freeInMs = wasClosed ? services.machine.opensInMs : Number.POSITIVE_INFINITY;
    const dueInMs = canTake(worker) ? Math.max(nextInMs, polledAt + shortestGapMs - now) : freeInMs;
    const reason = await polling.wake.sleep(Math.max(0, Math.min(until - now, dueInMs)), signal);
    const hasOpened = wasClosed && !services.machine.isClosed && polling.isRunLeft;
    const isDue = hasOpened || runs.expected.hasDue(monotonicMs()) || monotonicMs() >= nextPartAt;
    const isRegular = reason === "timeout" ? monotonicMs() >= until : reason !== "event";
    if (!isRegular && !canTake(worker)) polling.isRunLeft ||= isDue;
    if (!isRegular && (!canTake(worker) || !isDue)) continue;
    worker.log.debug({ reason }, "poll");
    if (reason !== "timeout") await sleep(polledAt + shortestGapMs - monotonicMs(), signal);
    return;
  }
}

/** Returns whether a slot is free and the machine can probably start a flow run. */
function canTake({ services }: Worker): boolean {
  return !services.slots.isFull && !services.machine.isClosed;
}

/** Returns when to poll for the flow runs that the last response left out, in ms; infinite if there is no reason to. */
function nextPartInMs({ polling }: Worker): number {
  const isTaking = monotonicMs() - polling.takenAt < recentlyTakenMs;
  return polling.polls.hasMore && !polling.isRunLeft && isTaking ? betweenPartsMs : Number.POSITIVE_INFINITY;
}

/** Polls once, takes as many due flow runs as there are slots, and remembers when the others are due. Throws ApiError. */
export async function poll(worker: Worker, signal: AbortSignal): Promise<void> {
  try {
    await pollOnce(worker, signal);
  } finally {
    worker.polling.first.open();
  }
}

async function pollOnce(worker: Worker, signal: AbortSignal): Promise<void> {
  const { polling, runs, services, pool } = worker;
  const poolBefore = pool.current;
  if (!poolBefore) {
    polling.answeredAt = monotonicMs();
    return;
  }
  runs.settle();
  runs.expected.beforePoll(monotonicMs());
  polling.isRunLeft = false;
  const scheduled = await readScheduled(worker, poolBefore, signal);
  // A newer snapshot may have come meanwhile, or the pool may be gone.
  const workPool = pool.current ?? poolBefore;
  polling.answeredAt = monotonicMs();
  polling.hasWorked = true;
  countUnannounced(worker, scheduled);
  const due = runs.expected.selectDue(scheduled, bothClocks());
  for (const flowRun of runs.expected.sortDeclinedLast(due)) {
    if (signal.aborted) return;
    if (runs.has(flowRun.id)) {
      // The flow run was scheduled again while its process still runs. It can be taken when that process has ended.
      polling.isRunLeft = true;
      continue;
    }
    if (services.machine.isClosed) {
      worker.log.debug({ left: scheduled.length }, "this machine cannot start flow runs now");
      polling.isRunLeft = true;
      return;
    }
    const slot = services.slots.tryAcquire();
    if (!slot) {
      worker.log.debug({ left: scheduled.length }, "concurrency limit reached");
      polling.isRunLeft = true;
      return;
    }
    polling.takenAt = monotonicMs();
    const log = services.named("prefect.flow_runs.worker").child({ flow_run_id: flowRun.id });
    const run = createRunRecord({ flowRun, workPool, slot, log });
    inheritLateClaim(worker, run);
    runs.take(
      run,
      () => live(worker, run),
      // If the server declined the same flow run before, do not poll again. Poll and claim would trigger each other for ever.
      (isChange) => isChange && services.slotFreed(),
    );
  }
}

/** Counts the flow runs that a poll found without an event, while events arrived. They had to wait for the poll. */
function countUnannounced({ sockets, runs, polling, log }: Worker, scheduled: readonly ScheduledFlowRun[]): void {
  if (!sockets.eventsConnected) return;
  const found = scheduled.map(({ flow_run }) => flow_run.id).filter((id) => !runs.expected.isKnown(id));
  polling.unannouncedCount += found.length;
  if (found.length > 0) log.debug({ flow_run_ids: found }, "a poll found flow runs that no event announced");
}

/**
 * Wakes the poll loop because a slot is free. That is a reason to poll if a flow run may have waited for the slot. If not,
 * the loop goes on sleeping until the next expected flow run is due.
 */
export function onSlotFree({ polling, pool, services }: Worker): void {
  // After the pause, the loop looks for flow runs that were given back or could not be taken meanwhile.
  if (services.machine.isClosed) polling.isRunLeft = true;
  const mayHaveWaited = polling.isRunLeft || pool.current?.concurrency_limit != null;
  polling.wake.wake(mayHaveWaited && !services.machine.isClosed ? "slot" : "event");
}

async function readScheduled(worker: Worker, pool: WorkPool, signal: AbortSignal): Promise<ScheduledFlowRun[]> {
  const { prefetchSeconds, querySeconds } = worker.options;
  const untilNextPollMs = querySeconds * 1000 * longestIntervalFactor + requestMs;
  // Under a limit of the pool, a flow run that is not due yet may take the place of one that is.
  const aheadMs = pool.concurrency_limit == null ? untilNextPollMs : 0;
  const scheduledBefore = new Date(wallClockMs() + Math.max(Math.trunc(prefetchSeconds) * 1000, aheadMs));
  try {
    return await worker.polling.polls.scheduled(scheduledBefore, signal);
  } catch (error) {
    // The work pool or a work queue does not exist (yet), so nothing is scheduled in it.
    if (isMissing(error, worker.api.address)) return [];
    throw error;
  }
}

/** Reads announced flow runs that the poll did not return. They are scheduled for later, or other workers claimed them. */
async function lookUpAnnounced(worker: Worker, signal: AbortSignal): Promise<void> {
  const { runs, polling } = worker;
  for (let ids = runs.expected.idsToLookUp(); ids.length > 0; ids = runs.expected.idsToLookUp()) {
    try {
      const flowRuns = await polling.polls.byId(ids, signal);
      runs.expected.addLookedUp(ids, flowRuns, bothClocks());
    } catch (error) {
      signal.throwIfAborted();
      // The regular poll finds them too. Servers before 3.9.1 cannot return a flow run with an integer beyond 64 bits.
      worker.log.debug({ err: error, flow_run_ids: ids }, "announced flow runs could not be looked up");
      runs.expected.addLookedUp(ids, [], bothClocks());
    }
  }
}
