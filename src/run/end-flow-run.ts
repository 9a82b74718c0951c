// The end of a flow run: awaited or brought about, and reported where the engine could not.
// Source: prefect workers/base.py, runner/_flow_run_executor.py, runner/_cancellation_manager.py.
import { ApiError, hasStatus } from "../api/errors.ts";
import { findFlowRun } from "../api/flow-runs.ts";
import type { Deployment, Flow, FlowRun, PrefectEvent, StateProposal } from "../api/wire.ts";
import { aborted } from "../async/sleep.ts";
import type { InfrastructureEnd, StartedInfrastructure } from "../infrastructure/infrastructure.ts";
import type { Logger } from "../logger.ts";
import { crashedMessage, explainExit } from "./exit-status.ts";
import { sendHeartbeats } from "./heartbeats.ts";
import { type Decision, proposeState } from "./propose-state.ts";
import type { RunContext } from "./run-context.ts";
import { cancelledState, cancellingState, crashedState, isFinal } from "./states.ts";

/** A flow run with what was read about it. */
export interface RelatedFlowRun {
  flowRun: FlowRun;
  deployment: Deployment | null;
  flow: Flow | null;
}

/** A flow run that is this worker's to execute. */
export interface Claimed extends RelatedFlowRun {
  log: Logger;
}

/** A flow run whose infrastructure runs. */
export interface Started extends Claimed {
  infrastructure: StartedInfrastructure;
  submitted: PrefectEvent;
}

/** Why a flow run is being ended: somebody cancelled it, or the worker cannot go on with it; `by` completes "Worker 'w' …". */
export type EndRequest = { kind: "cancel" } | { kind: "kill"; by: string };

/** Waits for the infrastructure to end, or ends it when asked to, and reports what the engine could not. */
export async function endFlowRun(context: RunContext, run: Started, end: AbortSignal): Promise<void> {
  await using infrastructure = run.infrastructure;
  const over = new AbortController();
  const beating = sendHeartbeats(context, { ...run, workPool: context.workPool() }, over.signal);
  const early = await Promise.race([infrastructure.exited, aborted(end)]);
  over.abort();
  await beating;
  const request = early ? undefined : (end.reason as EndRequest);
  if (request?.kind === "cancel") await cancel(context, run);
  else if (request) await kill(context, run, request.by);
  else await reportExit(context, run, await infrastructure.exited);
  const exit = await infrastructure.exited;
  context.activity.hear(run.flowRun.id, exit.reported);
  const { status } = explainExit(exit);
  context.events.executed({ ...run, workPool: context.workPool() }, run.submitted, {
    identifier: infrastructure.identifier,
    status,
  });
}

/**
 * Reports what an exit leaves to be reported: a crash when the process ended without success and without the engine's own
 * word on it, and the end of a cancellation that came too late for the process to be ended by it.
 */
async function reportExit(context: RunContext, run: Started, exit: InfrastructureEnd): Promise<void> {
  const { status, level, resolution } = explainExit(exit);
  if (exit.isConcluded || status === 0) {
    if (!(await isLeftInCancelling(context, run, exit))) return;
    // Otherwise the engine has run the hooks for a state that it could not leave.
    if (!run.infrastructure.engineRunsHooks) await runCancellationHooks(context, run);
    await finishCancelled(context, run);
    return;
  }
  run.log[level](`${crashedMessage(exit)} ${resolution}`);
  const crash = await reportCrash(context, run, crashedMessage(exit));
  if (crash) await run.infrastructure.runHooks("crashed", run.flowRun, crash, context.leave);
}

/** What a report depends on has to be known as surely as the report has to arrive. */
const forReport = { endless: true, outlastsRefusals: true };

/** An engine tells by its receipt which state it left; after a success without one the server has to be asked. */
async function isLeftInCancelling(context: RunContext, run: Started, exit: InfrastructureEnd): Promise<boolean> {
  if (exit.isConcluded) return exit.reported?.type === "CANCELLING";
  return (await findFlowRun(context.api, run.flowRun.id, forReport))?.state_type === "CANCELLING";
}

/**
 * Reports a crash, unless the attempt is over without. The server declines it for a flow run that was cancelled meanwhile:
 * then that is its end. Gives the state whose hooks are the worker's to run.
 */
async function reportCrash(context: RunContext, run: Started, message: string): Promise<StateProposal | undefined> {
  const { flowRun, infrastructure, log } = run;
  const current = await findFlowRun(context.api, flowRun.id, forReport);
  context.activity.hear(flowRun.id, current?.state ?? null);
  if (isScheduledAnew(current)) {
    log.info(`Flow run '${flowRun.name}' has been scheduled anew; it is not reported as crashed.`);
    return undefined;
  }
  if (isFinal(current?.state)) {
    // An engine that reports a crash has run the hooks too, if it was to run any.
    return current?.state?.type === "CRASHED" && !infrastructure.engineRunsHooks ? current.state : undefined;
  }
  const decision = await report(context, run, crashedState(message));
  if (decision?.state?.type === "CANCELLING") {
    await runCancellationHooks(context, run);
    await finishCancelled(context, run);
  }
  return decision?.kind === "accepted" ? decision.state : undefined;
}

/**
 * Whether somebody has set the flow run to run again: a crash reported now would end the next attempt. A retry that only
 * its own engine waited for has ended with it.
 */
function isScheduledAnew(flowRun: FlowRun | undefined): boolean {
  return flowRun?.state_type === "SCHEDULED" && flowRun.empirical_policy?.retry_type !== "in_process";
}

async function runCancellationHooks({ leave }: RunContext, { infrastructure, flowRun }: Started): Promise<void> {
  await infrastructure.runHooks("cancellation", flowRun, cancellingState("Flow run was cancelled."), leave);
}

/** The engine is given the time to report a crash, else the worker does. */
async function kill(context: RunContext, run: Started, by: string): Promise<void> {
  await run.infrastructure.terminate(context.leave);
  const { isConcluded, reported } = await run.infrastructure.exited;
  // Suspended just before: it is to be resumed, not to have crashed.
  if (isConcluded && reported?.type === "PAUSED") return;
  await reportCrash(context, run, `Worker '${context.workerName}' ${by} and ended the flow run's process.`);
}

/**
 * Ends a flow run that was cancelled. An engine that understood why reports Cancelled and runs the hooks itself;
 * otherwise both are the worker's. A flow run that has completed meanwhile stays what it is.
 */
async function cancel(context: RunContext, run: Started): Promise<void> {
  const { infrastructure, log, flowRun } = run;
  if ((await infrastructure.cancel(context.leave)) === "already concluded") {
    log.debug(`Flow run '${flowRun.name}' had ended before it could be cancelled.`);
    await reportExit(context, run, await infrastructure.exited);
    return;
  }
  const current = await findFlowRun(context.api, flowRun.id, forReport);
  context.activity.hear(flowRun.id, current?.state ?? null);
  if (!current) {
    log.debug(`Flow run '${flowRun.id}' was deleted while it was being cancelled.`);
  } else if (current.state_type === "CANCELLED") {
    announceCancelled(context, run);
  } else if (isFinal(current.state) && current.state_type !== "CRASHED") {
    log.warn(`Flow run '${flowRun.name}' ended as ${current.state_type} while it was being cancelled.`);
  } else {
    await runCancellationHooks(context, { ...run, flowRun: current });
    await finishCancelled(context, run, { isPending: current.start_time === null });
  }
}

/**
 * Reports Cancelled for a flow run whose infrastructure has ended. When the server does not take that, Crashed is
 * proposed, so that the flow run is not left in Cancelling without a word. Source: prefect runner/_cancel_finalizer.py.
 */
async function finishCancelled(context: RunContext, run: Started, { isPending = false } = {}): Promise<void> {
  const { log, flowRun } = run;
  const wasPending = isPending && context.cancelsPending;
  const message = wasPending ? "Flow run cancelled by worker while pending." : "Flow run was cancelled successfully.";
  try {
    const decision = await report(context, run, cancelledState(message), { force: true });
    if (decision === undefined) return;
    if (decision.kind === "accepted" || decision.state?.type === "CANCELLED") {
      if (wasPending) log.info(`Cancelled pending flow run '${flowRun.id}'`);
      announceCancelled(context, run);
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

function announceCancelled(context: RunContext, run: Started): void {
  context.events.cancelled({ ...run, workPool: context.workPool() });
  run.log.info(`Cancelled flow run '${run.flowRun.name}'`);
}

/**
 * Reports a state that ends the worker's part. The engine's own verdict stands: then the server declines, silently.
 * Undefined when the flow run was deleted.
 */
export async function report(
  context: RunContext,
  run: Claimed,
  state: StateProposal,
  options: { force?: boolean } = {},
): Promise<Decision | undefined> {
  try {
    const decision = await proposeState(context.api, run.flowRun.id, state, options);
    context.activity.hear(run.flowRun.id, decision.state);
    if (state.type === "CRASHED" && decision.kind === "accepted") {
      run.log.info(`Reported flow run '${run.flowRun.id}' as crashed: ${state.message}`);
    }
    return decision;
  } catch (error) {
    if (!hasStatus(error, 404)) throw error;
    run.log.debug(`Flow run '${run.flowRun.id}' was deleted; its state was not reported.`);
    return undefined;
  }
}
