// The last states that the worker reports of a flow run, for the reporter of its end.
import { ApiError } from "../api/errors.ts";
import { findFlowRun, updateFlowRun } from "../api/flow-runs.ts";
import { limitedApi } from "../api/limited-api.ts";
import type { FlowRun, State, StateProposal } from "../api/wire.ts";
import { timeoutSignal } from "../async/clock.ts";
import type { RunOutput } from "../infrastructure/execution.ts";
import { forReport } from "./propose-state.ts";
import { report } from "./report.ts";
import type { HooksDue } from "./reporter.ts";
import type { RunContext } from "./run-context.ts";
import type { RunRecord } from "./run-record.ts";
import { cancelledState, cancellingState, crashedState, isFinal, rescheduledState } from "./states.ts";

/** The flow run that is reported. */
export interface Reporting {
  readonly context: RunContext;
  readonly run: RunRecord;
  /** The states whose hooks the engine runs when it reports them. */
  readonly runsItself: { readonly cancellation: boolean; readonly crashed: boolean };
}

/** For a program of which nobody knows whether it runs hooks. */
export const nothing = { cancellation: false, crashed: false };

/** The hooks of a cancelled flow run receive the state Cancelling, as in the reference. */
export const cancellationHooks: HooksDue = { kind: "cancellation", state: cancellingState("Flow run was cancelled.") };

/**
 * Reports a crash unless the flow run already has a final state, or is scheduled again. The server rejects Crashed for a
 * flow run that is Cancelling, so Cancelled is reported for it. `output` is logged if it is this worker that reports the crash.
 */
export async function reportCrash(reporting: Reporting, message: string, output?: RunOutput): Promise<HooksDue | null> {
  const { context, run } = reporting;
  const current = await readCurrent(reporting);
  if (isScheduledAgain(current)) {
    run.log.info(`Flow run '${run.flowRun.name}' is scheduled again; it is not reported as crashed.`);
    await forgetProgram(reporting, current);
    return null;
  }
  if (isFinal(current?.state)) return owedCrashHooks(reporting, current?.state);
  const decision = await report(context, run, crashedState(message));
  if (decision?.state?.type === "CANCELLING") {
    await finishCancelled(reporting);
    return cancellationHooks;
  }
  if (decision?.kind !== "accepted") return null;
  if (output) logOutput(run, output, current);
  return { kind: "crashed", state: decision.state as StateProposal };
}

/** An engine that ran has sent most lines itself. */
const linesOfEngine = 50;

/** Logs the last lines of a program, because they usually say why it failed. */
function logOutput({ log }: RunRecord, { of, lines }: RunOutput, before: FlowRun | undefined): void {
  const shown = before?.state_type === "PENDING" ? lines : lines.slice(-linesOfEngine);
  log.error(`The last lines of ${of}:\n${shown.join("\n")}`);
}

/** Returns the hooks that the worker owes a flow run in this final state, because its engine does not run them. */
export function owedCrashHooks({ runsItself }: Reporting, state: State | null | undefined): HooksDue | null {
  return state?.type === "CRASHED" && !runsItself.crashed ? { kind: "crashed", state } : null;
}

/** Reads the flow run and records its state. Returns undefined when it was deleted. Throws ApiError. */
export async function readCurrent({ context, run }: Reporting): Promise<FlowRun | undefined> {
  const current = await findFlowRun(context.api, run.flowRun.id, forReport);
  context.history.recordState(run, current?.state ?? null);
  return current;
}

/**
 * Returns whether the flow run is scheduled again, so that a crash reported now would end the next attempt. A retry that
 * its own engine was waiting for does not count, because that engine has ended.
 */
export function isScheduledAgain(flowRun: FlowRun | undefined): boolean {
  return flowRun?.state_type === "SCHEDULED" && flowRun.empirical_policy?.retry_type !== "in_process";
}

/** The removal of an id is not worth a long wait, and a late one would remove that of the next program. */
const forgetMs = 5_000;

/**
 * Removes the id of this program, which has ended, if the flow run is scheduled again, for example by an engine that was evicted.
 * The server would let the flow run wait in Cancelling for the end of that program. Never rejects.
 */
export async function forgetProgram({ context, run }: Reporting, current: FlowRun | undefined): Promise<void> {
  const identifier = run.handle?.identifier;
  if (!current || !isScheduledAgain(current) || !identifier || current.infrastructure_pid !== identifier) return;
  const signal = timeoutSignal(forgetMs);
  try {
    await updateFlowRun(limitedApi(context.api, signal), current.id, { infrastructure_pid: null }, { signal });
  } catch (error) {
    run.log.debug({ err: error }, `The process id of flow run '${current.id}' could not be removed.`);
  }
}

/** Sets the flow run back to Scheduled, so that any worker can claim it. `because` completes "Scheduled again: …". */
export async function scheduleAgain(context: RunContext, run: RunRecord, because: string): Promise<void> {
  if (await setBack(context, run, `Scheduled again: ${because}.`))
    run.log.info(`Flow run '${run.flowRun.name}' is scheduled again: ${because}.`);
}

/**
 * Sets a flow run that has no program back to Scheduled, so that any worker can claim it. The server declines this for a
 * flow run that was cancelled meanwhile. Then Cancelled is reported, because nobody else would do that. Returns false then.
 */
export async function setBack(context: RunContext, run: RunRecord, message: string): Promise<boolean> {
  await clearProcessId(context, run);
  const decision = await report(context, run, rescheduledState(message));
  if (decision?.state?.type !== "CANCELLING") return true;
  await cancelUnstarted(context, run);
  return false;
}

/**
 * Removes the id of a process that is gone. The server would let a scheduled flow run with a process id wait in Cancelling
 * for the end of that process. Source: prefect server core_policy.py BypassCancellingFlowRunsWithNoInfra.
 */
async function clearProcessId({ api }: RunContext, { flowRun, handle, log, setBack }: RunRecord): Promise<void> {
  // A report that waits for the server would come afterwards.
  setBack.abort();
  if (!flowRun.infrastructure_pid && !handle?.identifier) return;
  try {
    await updateFlowRun(api, flowRun.id, { infrastructure_pid: null }, forReport);
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    log.debug({ err: error }, `The process id of flow run '${flowRun.id}' could not be removed.`);
  }
}

/** Reports Cancelled for a claimed flow run that is cancelled before its program was started. Throws ApiError. */
export async function cancelUnstarted(context: RunContext, run: RunRecord): Promise<void> {
  const message = context.services.cancelsPending
    ? "Flow run cancelled by worker (no infrastructure found)."
    : "Flow run was cancelled before execution started.";
  await report(context, run, cancelledState(message), { force: true });
  run.log.info(`Cancelled pending flow run '${run.flowRun.id}'`);
}

/**
 * Reports Cancelled for a flow run whose program has ended. If the server declines it, Crashed is proposed, because
 * otherwise the flow run would stay in Cancelling for ever. Source: prefect runner/_cancel_finalizer.py.
 */
export async function finishCancelled(reporting: Reporting, { isPending = false } = {}): Promise<void> {
  const { context, run } = reporting;
  const { log, flowRun } = run;
  const wasPending = isPending && context.services.cancelsPending;
  const message = wasPending ? "Flow run cancelled by worker while pending." : "Flow run was cancelled successfully.";
  try {
    const decision = await report(context, run, cancelledState(message), { force: true });
    if (decision === undefined) return;
    if (decision.kind === "accepted" || decision.state?.type === "CANCELLED") {
      if (wasPending) log.info(`Cancelled pending flow run '${flowRun.id}'`);
      announceCancelled(reporting);
      return;
    }
    log.error(`Failed to persist Cancelled state for flow run '${flowRun.id}': ${decision.reason}`);
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    log.error({ err: error }, `Failed to persist Cancelled state for flow run '${flowRun.id}'.`);
  }
  await report(context, run, crashedState(notPersisted));
}

const notPersisted =
  "Flow run process exited after a cancellation request, but the runner could not durably persist a Cancelled terminal state.";

/** Sends the event about a cancelled flow run, and logs it. */
export function announceCancelled({ context, run }: Reporting): void {
  context.events.cancelled(run);
  run.log.info(`Cancelled flow run '${run.flowRun.name}'`);
}
