// Reports the end of a flow run when its engine could not. Usually the engine reports all states itself.
// Source: prefect workers/base.py, runner/_flow_run_executor.py, runner/_cancellation_manager.py.
import { ApiError } from "../api/errors.ts";
import { findFlowRun } from "../api/flow-runs.ts";
import type { FlowRun, State, StateProposal } from "../api/wire.ts";
import type { Ending, Execution } from "../infrastructure/pool-type.ts";
import { crashedMessage, explainExit } from "./exit-status.ts";
import { report } from "./report.ts";
import type { HooksDue, Reporter } from "./reporter.ts";
import type { RunContext } from "./run-context.ts";
import type { RunRecord } from "./run-record.ts";
import { cancelledState, cancellingState, crashedState, isFinal } from "./states.ts";

/** Returns the reporter of one flow run that an engine executes. */
export function engineReporter(context: RunContext, run: RunRecord, execution: Execution): Reporter {
  const reporting: Reporting = { context, run, runsItself: execution.hooks?.runsItself ?? nothing };
  return {
    ended: (ending) => reportEnd(reporting, ending),
    killed: (by, ending) => reportKilled(reporting, by, ending),
    cancelled: () => reportCancelled(reporting),
  };
}

interface Reporting {
  readonly context: RunContext;
  readonly run: RunRecord;
  /** The states whose hooks the engine runs when it reports them. */
  readonly runsItself: { readonly cancellation: boolean; readonly crashed: boolean };
}

/** Reads before a report are repeated as long as the report itself, because the report depends on them. */
const forReport = { endless: true, retriesRefusals: true };

const nothing = { cancellation: false, crashed: false };

/** The hooks of a cancelled flow run receive the state Cancelling, as in the reference. */
const cancellationHooks: HooksDue = { kind: "cancellation", state: cancellingState("Flow run was cancelled.") };

/**
 * Reports a crash if the program failed and its engine did not report the end. Reports Cancelled if the program ended by
 * itself while the flow run was Cancelling.
 */
async function reportEnd(reporting: Reporting, ending: Ending): Promise<HooksDue | null> {
  const { run } = reporting;
  if (ending.kind === "exited" && (ending.reported || ending.status === 0)) {
    if (!(await isLeftInCancelling(reporting, ending))) return null;
    await finishCancelled(reporting);
    // An engine that runs the cancellation hooks itself has run them, even though it could not report the state.
    return reporting.runsItself.cancellation ? null : cancellationHooks;
  }
  const message = ending.kind === "gone" ? ending.why : crashedMessage(ending.status);
  const { level, resolution } = ending.kind === "gone" ? lost : explainExit(ending.status);
  run.log[level](`${message} ${resolution}`);
  return await reportCrash(reporting, message);
}

const lost = { level: "error", resolution: "Look at the logs of the flow run and of the machine it ran on." } as const;

/** The engine's receipt names the state it reported. After a success without a receipt, the server is asked. */
async function isLeftInCancelling({ context, run }: Reporting, ending: Ending & { kind: "exited" }): Promise<boolean> {
  if (ending.reported) return ending.reported.state?.type === "CANCELLING";
  return (await findFlowRun(context.api, run.flowRun.id, forReport))?.state_type === "CANCELLING";
}

/**
 * Reports a crash unless the flow run already has a final state, or is scheduled again. The server rejects Crashed for a
 * flow run that is Cancelling, so Cancelled is reported for it.
 */
async function reportCrash(reporting: Reporting, message: string): Promise<HooksDue | null> {
  const { context, run } = reporting;
  const current = await readCurrent(reporting);
  if (isScheduledAgain(current)) {
    run.log.info(`Flow run '${run.flowRun.name}' is scheduled again; it is not reported as crashed.`);
    return null;
  }
  if (isFinal(current?.state)) {
    const isOwed = current?.state?.type === "CRASHED" && !reporting.runsItself.crashed;
    return isOwed ? { kind: "crashed", state: current.state as State } : null;
  }
  const decision = await report(context, run, crashedState(message));
  if (decision?.state?.type === "CANCELLING") {
    await finishCancelled(reporting);
    return cancellationHooks;
  }
  return decision?.kind === "accepted" ? { kind: "crashed", state: decision.state as StateProposal } : null;
}

async function readCurrent({ context, run }: Reporting): Promise<FlowRun | undefined> {
  const current = await findFlowRun(context.api, run.flowRun.id, forReport);
  context.history.recordState(run, current?.state ?? null);
  return current;
}

/**
 * Returns whether the flow run is scheduled again, so that a crash reported now would end the next attempt. A retry that
 * its own engine was waiting for does not count, because that engine has ended.
 */
function isScheduledAgain(flowRun: FlowRun | undefined): boolean {
  return flowRun?.state_type === "SCHEDULED" && flowRun.empirical_policy?.retry_type !== "in_process";
}

/** Reports a crash because the worker ended the program, unless the flow run was suspended just before. */
async function reportKilled(reporting: Reporting, by: string, ending: Ending): Promise<HooksDue | null> {
  if (ending.kind === "exited" && ending.reported?.state?.type === "PAUSED") return null;
  return await reportCrash(
    reporting,
    `Worker '${reporting.context.identity.name}' ${by} and ended the flow run's process.`,
  );
}

/**
 * Reports Cancelled after the program was stopped for a cancellation. An engine that knew the reason may have reported
 * Cancelled itself. Any other final state except Crashed is kept.
 */
async function reportCancelled(reporting: Reporting): Promise<HooksDue | null> {
  const { run } = reporting;
  const current = await readCurrent(reporting);
  if (!current) {
    run.log.debug(`Flow run '${run.flowRun.id}' was deleted while it was being cancelled.`);
  } else if (current.state_type === "CANCELLED") {
    announceCancelled(reporting);
  } else if (isFinal(current.state) && current.state_type !== "CRASHED") {
    run.log.warn(`Flow run '${run.flowRun.name}' ended as ${current.state_type} while it was being cancelled.`);
  } else {
    await finishCancelled(reporting, { isPending: current.start_time === null });
    return cancellationHooks;
  }
  return null;
}

/**
 * Reports Cancelled for a flow run whose program has ended. If the server declines it, Crashed is proposed, because
 * otherwise the flow run would stay in Cancelling for ever. Source: prefect runner/_cancel_finalizer.py.
 */
async function finishCancelled(reporting: Reporting, { isPending = false } = {}): Promise<void> {
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

function announceCancelled({ context, run }: Reporting): void {
  context.events.cancelled(run);
  run.log.info(`Cancelled flow run '${run.flowRun.name}'`);
}
