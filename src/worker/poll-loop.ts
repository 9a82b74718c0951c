// Takes scheduled flow runs: at once when an event tells of them, and every so often, because events may be missed.
// Source: prefect workers/base.py get_and_submit_flow_runs.
import { hasStatus } from "../api/errors.ts";
import type { FlowRun, ScheduledFlowRun, WorkPool } from "../api/wire.ts";
import { bothClocks, monotonicMs, wallClockMs } from "../async/clock.ts";
import { sleep } from "../async/sleep.ts";
import { live } from "../run/live.ts";
import { serviceLoop } from "./service-loop.ts";
import type { Worker } from "./worker.ts";

/** A burst of events, of free slots, or of due times makes one poll at once and then one per this time. */
const shortestGapMs = 200;
/** While events come, the regular polls are as rare as their jitter would make some of them: 12 to 13 s apart. */
const pauseWithEvents = 1.2;
/** The jitter's upper bound, and some time for the poll itself: what is scheduled until then, the next poll may miss. */
const longestPause = 1.3;
const pollMs = 1_000;
/** The flow runs of a piece are claimed by then. If none is claimed any more, the rest waits for the regular poll. */
const betweenPiecesMs = 500;
const takingMs = 5_000;

/** Polls until `drain` aborts. Throws when the API refuses for good. */
export async function pollLoop(worker: Worker, drain: AbortSignal): Promise<void> {
  const { announce, random } = worker.services;
  let polledAt = Number.NEGATIVE_INFINITY;
  await serviceLoop(
    {
      intervalMs: worker.options.querySeconds * 1000,
      announce,
      random,
      turn: async (signal) => {
        polledAt = monotonicMs();
        await poll(worker, signal);
        await lookUpAnnounced(worker, signal);
      },
      wait: (ms, signal) => waitForReason(worker, { ms, polledAt }, signal),
    },
    drain,
  );
}

/**
 * Waits until there is a reason to poll, at most `ms`. An event about a flow run that other workers come first for is no
 * reason, nor is the time of this worker's turn if a claim has been heard of by then. While no slot is free, events and
 * due times only note that there is work: the next free slot is the reason.
 */
async function waitForReason(
  worker: Worker,
  { ms, polledAt }: { ms: number; polledAt: number },
  signal: AbortSignal,
): Promise<void> {
  const { polling, runs, services, sockets, options } = worker;
  const pauseMs = sockets.eventsConnected ? Math.max(ms, options.querySeconds * 1000 * pauseWithEvents) : ms;
  const until = monotonicMs() + pauseMs;
  const restAt = monotonicMs() + restInMs(worker);
  for (;;) {
    const now = monotonicMs();
    const { isFull } = services.slots;
    const nextInMs = Math.min(runs.dueInMs(now), restAt - now);
    const dueInMs = isFull ? Number.POSITIVE_INFINITY : Math.max(nextInMs, polledAt + shortestGapMs - now);
    const reason = await polling.wake.sleep(Math.max(0, Math.min(until - now, dueInMs)), signal);
    const isDue = runs.isDue(monotonicMs()) || monotonicMs() >= restAt;
    const isRegular = reason === "timeout" ? monotonicMs() >= until : reason !== "event";
    if (!isRegular && services.slots.isFull) polling.isRunLeft ||= isDue;
    if (!isRegular && (services.slots.isFull || !isDue)) continue;
    worker.log.debug({ reason }, "poll");
    if (reason !== "timeout") await sleep(polledAt + shortestGapMs - monotonicMs(), signal);
    return;
  }
}

/** When to poll for the rest of an answer that came in pieces: soon while flow runs are being taken, else not for it. */
function restInMs({ polling }: Worker): number {
  const isTaking = monotonicMs() - polling.takenAt < takingMs;
  return polling.polls.hasMore && !polling.isRunLeft && isTaking ? betweenPiecesMs : Number.POSITIVE_INFINITY;
}

/** Asks once for scheduled flow runs, takes those that there are slots for, and remembers when the next ones are due. */
export async function poll(worker: Worker, signal: AbortSignal): Promise<void> {
  const { polling, runs, services, pool } = worker;
  if (!pool.current) {
    polling.answeredAt = monotonicMs();
    return;
  }
  runs.beforePoll(monotonicMs());
  polling.isRunLeft = false;
  const scheduled = await readScheduled(worker, pool.current, signal);
  polling.answeredAt = monotonicMs();
  noteUnannounced(worker, scheduled);
  const due = runs.takeDue(scheduled, bothClocks());
  for (const flowRun of runs.declinedLast(due)) {
    if (signal.aborted) return;
    if (runs.has(flowRun.id)) {
      // It was scheduled again while its process still lives. It can be taken as soon as that has ended.
      polling.isRunLeft = true;
      continue;
    }
    const slot = services.slots.tryAcquire();
    if (!slot) {
      worker.log.debug({ left: scheduled.length }, "concurrency limit reached");
      polling.isRunLeft = true;
      return;
    }
    take(worker, flowRun, slot);
    polling.takenAt = monotonicMs();
  }
}

/** Counts what a poll has found although events come and none told of it: such flow runs have waited for the poll. */
function noteUnannounced({ sockets, runs, polling, log }: Worker, scheduled: readonly ScheduledFlowRun[]): void {
  if (!sockets.eventsConnected) return;
  const found = scheduled.map(({ flow_run }) => flow_run.id).filter((id) => !runs.isKnown(id));
  polling.unannouncedCount += found.length;
  if (found.length > 0) log.debug({ flow_run_ids: found }, "a poll found flow runs that no event announced");
}

/** Takes a flow run into the worker's hands. */
function take(worker: Worker, flowRun: FlowRun, slot: Disposable): void {
  const workPool = worker.pool.current as WorkPool;
  const log = worker.services.named("prefect.flow_runs.worker").child({ flow_run_id: flowRun.id });
  worker.runs.take(
    { flowRun, workPool, slot, log },
    (run) => live(worker, run),
    // If the server declined the same flow run before, do not poll again. Otherwise poll and claim would trigger each other.
    (isNews) => isNews && worker.services.slotFreed(),
  );
}

/** Wakes the poll loop because a slot is free. That is a reason to poll only where a flow run may have waited for it. */
export function onSlotFree({ polling, pool }: Worker): void {
  if (polling.isRunLeft || pool.current?.concurrency_limit != null) polling.wake.wake("slot");
}

async function readScheduled(worker: Worker, pool: WorkPool, signal: AbortSignal): Promise<ScheduledFlowRun[]> {
  const { prefetchSeconds, querySeconds } = worker.options;
  const untilNextPollMs = querySeconds * 1000 * longestPause + pollMs;
  // Under a limit of the pool, a flow run that is not due yet may take the place of one that is.
  const aheadMs = pool.concurrency_limit == null ? untilNextPollMs : 0;
  const scheduledBefore = new Date(wallClockMs() + Math.max(Math.trunc(prefetchSeconds) * 1000, aheadMs));
  try {
    return await worker.polling.polls.scheduled(scheduledBefore, signal);
  } catch (error) {
    // The pool or a queue does not exist (yet): nothing is scheduled in it.
    if (hasStatus(error, 404)) return [];
    throw error;
  }
}

/** Finds out when announced flow runs are due that the poll did not return: scheduled for later, or taken by others. */
async function lookUpAnnounced(worker: Worker, signal: AbortSignal): Promise<void> {
  const { runs, polling } = worker;
  for (let ids = runs.toLookUp(); ids.length > 0; ids = runs.toLookUp()) {
    try {
      const flowRuns = await polling.polls.byId(ids, signal);
      runs.noteLookedUp(ids, flowRuns, bothClocks());
    } catch (error) {
      signal.throwIfAborted();
      // The regular poll finds them too. Servers before 3.9.1 fail over a flow run with an integer beyond 64 bits.
      worker.log.debug({ err: error, flow_run_ids: ids }, "announced flow runs could not be looked up");
      runs.noteLookedUp(ids, [], bothClocks());
    }
  }
}
