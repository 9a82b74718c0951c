// Reports the end of a flow run when its engine could not. Usually the engine reports all states itself.
// Source: prefect workers/base.py, runner/_flow_run_executor.py, runner/_cancellation_manager.py.
import { findFlowRun, readFlowRunStates } from "../api/flow-runs.ts";
import type { Ending, Execution } from "../infrastructure/execution.ts";
import { findHolder } from "./claim-holder.ts";
import { exitMessage, explainExit } from "./exit-status.ts";
import {
  announceCancelled,
  cancellationHooks,
  finishCancelled,
  forgetProgram,
  nothing,
  type Reporting,
  readCurrent,
  reportCrash,
  scheduleAgain,
} from "./last-reports.ts";
import { reportLost } from "./lost-run.ts";
import { forReport } from "./propose-state.ts";
import type { HooksDue, Reporter } from "./reporter.ts";
import type { RunContext } from "./run-context.ts";
import { mayHaveProposed, type RunRecord } from "./run-record.ts";
import { isFinal } from "./states.ts";

/** Returns the reporter of one flow run that an engine executes. */
export function engineReporter(context: RunContext, run: RunRecord, execution: Execution): Reporter {
  const { reportsRunning, hooks } = execution;
  const reporting: Reporting = { context, run, runsItself: hooks?.runsItself ?? nothing };
  return {
    // An engine reports these itself.
    begun: () => undefined,
    hasReportedBegin: async () => undefined,
    timedOut: async () => null,
    ended: (ending) => reportEnd(reporting, ending, reportsRunning),
    killed: (by, ending) => reportKilled(reporting, by, ending),
    cancelled: () => reportCancelled(reporting),
  };
}

/**
 * Reports a crash if the program failed and its engine did not report the end. Reports Cancelled if the program ended by
 * itself while the flow run was Cancelling.
 */
async function reportEnd(reporting: Reporting, ending: Ending, reportsRunning: boolean): Promise<HooksDue | null> {
  const { run } = reporting;
  if (ending.kind === "gone") return await reportLost(reporting, ending);
  if (ending.reported || ending.status === 0) {
    if (!(await isLeftInCancelling(reporting, ending))) return null;
    await finishCancelled(reporting);
    // An engine that runs the cancellation hooks itself has run them, even though it could not report the state.
    return reporting.runsItself.cancellation ? null : cancellationHooks;
  }
  // An engine may have scheduled the flow run again before it was ended, and another worker is fast.
  if (!reporting.context.poolType.isLocal && (await findHolder(reporting.context.api, run)) === "somebody else") {
    run.log.info(`Flow run '${run.flowRun.name}' belongs to another worker by now; it is left as it is.`);
    return null;
  }
  const message = exitMessage(ending.status, reporting.context.poolType.isLocal, ending.why);
  const { level, resolution } = explainExit(ending.status);
  run.log[level](`${message} ${resolution}`);
  if (reportsRunning && (await reportUnreachable(reporting))) return null;
  return await reportCrash(reporting, message, ending.output);
}

const unreachable = "its process could not reach the API and did not begin";

/**
 * An engine that starts while the API is away gives up before it reports Running. Then the flow run did not begin, and it is
 * scheduled again. That happens once, because an engine can also fail for another reason while the network is unreliable.
 * Returns whether the flow run is scheduled again.
 */
async function reportUnreachable({ context, run }: Reporting): Promise<boolean> {
  const outageAt = context.services.lastOutageAt() ?? Number.NEGATIVE_INFINITY;
  if (run.startedAt === null || outageAt < run.startedAt) return false;
  const current = await findFlowRun(context.api, run.flowRun.id, forReport);
  if (current?.state_type !== "PENDING" || !mayHaveProposed(run, current.state)) return false;
  const history = await readFlowRunStates(context.api, run.flowRun.id, forReport);
  if (history.some(({ message }) => message?.includes(unreachable))) return false;
  await scheduleAgain(context, run, unreachable);
  return true;
}

/** The engine's receipt names the state it reported. After a success without a receipt, the server is asked. */
async function isLeftInCancelling(reporting: Reporting, ending: Ending & { kind: "exited" }): Promise<boolean> {
  const { context, run } = reporting;
  if (ending.reported) return ending.reported.state?.type === "CANCELLING";
  const current = await findFlowRun(context.api, run.flowRun.id, forReport);
  await forgetProgram(reporting, current);
  return current?.state_type === "CANCELLING";
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
