// Watches a running flow run until its end is reported.
import { monotonicMs, timeoutSignal, wallClockMs } from "../async/clock.ts";
import { sleep, waitUnlessAborted } from "../async/sleep.ts";
import type { Ending, Execution } from "../infrastructure/execution.ts";
import { engineReporter } from "./engine-reporter.ts";
import { sendHeartbeats } from "./heartbeats.ts";
import { keep } from "./journal-entry.ts";
import { undoLateWaiting } from "./report-waiting.ts";
import type { HooksDue, Reporter } from "./reporter.ts";
import type { RunContext } from "./run-context.ts";
import { noteBegin, type RunRecord, stopReason } from "./run-record.ts";
import { workerReporter } from "./worker-reporter.ts";

/** After the second signal, hooks that are still due may run for this time. */
export const lastHooksMs = 30_000;

/**
 * Waits until the program ends, or stops it when the flow run is to be stopped. Then it reports the end if the engine did
 * not, frees the slot, and runs the hooks that the engine did not run. Returns when no process of the program is left. If
 * the worker is ended and the program goes on without it, it returns at once.
 * Throws ApiError when the end cannot be reported.
 */
export async function watch(context: RunContext, run: RunRecord, execution: Execution): Promise<void> {
  const reporter = run.rules
    ? workerReporter(context, run, execution, run.rules)
    : engineReporter(context, run, execution);
  if (!(await isGone(execution))) reporter.begun();
  await waitForEnd(context, run, execution);
  if (await isLeftRunning(context, run, execution)) {
    // Otherwise Running, or why the program waits, could arrive after the reports of the next worker.
    await reporter.hasReportedBegin();
    await run.waitingReport;
    // The disk may have been full before.
    await keep(context, run);
    return;
  }
  let hooks: HooksDue | null;
  try {
    run.phase = "ending";
    await run.waitingReport;
    if (await hasEnded(execution)) await keepEnding(context, run, await execution.ended);
    hooks = await reportEnd(context, run, execution, reporter);
  } finally {
    // A running program keeps its slot even if the report failed.
    await execution.ended;
  }
  const ending = await execution.ended;
  if (ending.kind === "exited") context.history.recordState(run, ending.reported?.state ?? null);
  const { identifier } = execution.handle;
  if (identifier !== "") context.events.executed(run, run.submitted, { identifier, status: statusOf(ending) });
  run.slot[Symbol.dispose]();
  context.services.slotFreed();
  await undoLateWaiting(context, run);
  if (!hooks) return;
  run.phase = "hooks";
  await execution.hooks?.run({ ...hooks, flowRun: run.flowRun, ...hookLimits(context) });
}

/** Returns whether nobody knows how the program has ended, or whether it began. */
async function isGone(execution: Execution): Promise<boolean> {
  return (await hasEnded(execution)) && (await execution.ended).kind === "gone";
}

/** Waits until the program has ended or has to be stopped. Sends heartbeats meanwhile if the program sends none. */
async function waitForEnd(context: RunContext, run: RunRecord, execution: Execution): Promise<void> {
  const over = new AbortController();
  const isSilent = run.rules || !execution.sendsHeartbeats;
  const beating = isSilent ? sendHeartbeats(context, run, over.signal) : undefined;
  const timing = stopAfterTimeout(context, run, execution, over.signal);
  await waitUnlessAborted(execution.ended, run.stop.signal);
  over.abort();
  await Promise.all([beating, timing]);
}

/** A program may wait for its infrastructure first, as a pod does for a node. A longer wait than this is no part of its time. */
const shortWaitMs = 1_000;

/** Stops the flow run when its program has run for too long, until `over` aborts. */
async function stopAfterTimeout(
  context: RunContext,
  run: RunRecord,
  execution: Execution,
  over: AbortSignal,
): Promise<void> {
  const seconds = run.rules?.timeoutSeconds ?? null;
  if (seconds === null) return;
  await waitUnlessAborted(execution.started, over);
  if (over.aborted) return;
  if (run.startedAt !== null && monotonicMs() - run.startedAt > shortWaitMs) {
    noteBegin(run);
    await keep(context, run);
  }
  const { startedAt, stop } = run;
  // Another worker started an adopted program, and only the wall clock outlives that worker. It may have been killed before the
  // program began to run.
  const beganAt = execution.startedAt?.() ?? run.beganAt ?? wallClockMs();
  const ranMs = (): number => (startedAt === null ? wallClockMs() - beganAt : monotonicMs() - startedAt);
  while (!over.aborted && ranMs() < seconds * 1000) await sleep(seconds * 1000 - ranMs(), over);
  if (!over.aborted) stop.abort({ kind: "timeout", seconds });
}

/**
 * Returns whether the flow run is left to the next worker, because this one is ended and the program goes on without it.
 * Then nothing is reported.
 */
async function isLeftRunning(context: RunContext, run: RunRecord, execution: Execution): Promise<boolean> {
  if (context.poolType.isLocal || stopReason(run)?.kind !== "kill" || (await hasEnded(execution))) return false;
  run.isLeftRunning = true;
  run.log.info(
    `Flow run '${run.flowRun.name}' goes on in ${execution.handle.identifier}; the next worker continues it.`,
  );
  return true;
}

async function reportEnd(
  context: RunContext,
  run: RunRecord,
  execution: Execution,
  reporter: Reporter,
): Promise<HooksDue | null> {
  const reason = stopReason(run);
  // A program that has already ended by itself is not stopped.
  if (!reason || (await hasEnded(execution))) return await reporter.ended(await execution.ended);
  if ((await execution.stop(reason.kind === "cancel" ? "cancel" : "kill", context.services.stop)) === "had ended") {
    run.log.debug(`Flow run '${run.flowRun.name}' had ended before it could be cancelled.`);
    return await reporter.ended(await execution.ended);
  }
  switch (reason.kind) {
    case "cancel":
      return await reporter.cancelled();
    case "kill":
      return await reporter.killed(reason.by, await execution.ended);
    case "timeout":
      return await reporter.timedOut(reason.seconds);
  }
}

/** Stores how the program ended. If this worker is killed before it reports the end, the next one reports it. */
async function keepEnding(context: RunContext, run: RunRecord, ending: Ending): Promise<void> {
  run.ending = ending;
  await keep(context, run);
}

/** Returns whether the program has ended. */
export async function hasEnded({ ended }: Execution): Promise<boolean> {
  const notYet = Symbol("not yet");
  return (await Promise.race([ended, Promise.resolve(notYet)])) !== notYet;
}

/**
 * Returns the status for the event `prefect.worker.executed-flow-run`: the exit code, or 0 if the engine reported the end.
 * Source: prefect workers/process.py, runner/_flow_run_executor.py.
 */
function statusOf(ending: Ending): number {
  if (ending.kind === "gone") return -1;
  return ending.reported ? 0 : ending.status;
}

/** The second signal ends running hooks. Hooks of flow runs that the signal itself ended may run for 30 s. */
function hookLimits({ services: { stop } }: RunContext): { end: AbortSignal; leave: AbortSignal } {
  const end = stop.kill.aborted ? timeoutSignal(lastHooksMs) : stop.kill;
  return { end, leave: stop.leave };
}
