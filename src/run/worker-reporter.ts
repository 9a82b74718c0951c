// Reports all states of a flow run whose program reports nothing itself, which may be any program.
import { findFlowRun, updateFlowRun } from "../api/flow-runs.ts";
import type { FlowRun, State, StateProposal } from "../api/wire.ts";
import { waitUnlessAborted } from "../async/sleep.ts";
import type { Ending, Execution } from "../infrastructure/execution.ts";
import type { Logger } from "../logger.ts";
import type { ReportRules } from "../program/program.ts";
import { findHolder } from "./claim-holder.ts";
import { engineReporter } from "./engine-reporter.ts";
import { exitMessage, explainExit, isSignal } from "./exit-status.ts";
import { finishCancelled, nothing, type Reporting, readCurrent, reportCrash } from "./last-reports.ts";
import { reportLost } from "./lost-run.ts";
import { createResultArtifact, type ProgramResult, parseResult } from "./program-result.ts";
import { type Decision, forReport } from "./propose-state.ts";
import { letPollsReturn } from "./release-retry.ts";
import { report } from "./report.ts";
import type { Reporter } from "./reporter.ts";
import type { RunContext } from "./run-context.ts";
import type { RunRecord } from "./run-record.ts";
import { completedState, failedState, isFinal, runningState, timedOutState } from "./states.ts";

/** Returns the reporter of one flow run whose program is no engine. */
export function workerReporter(
  context: RunContext,
  run: RunRecord,
  execution: Execution,
  rules: ReportRules,
): Reporter {
  // Such a program has no hooks.
  const reporting: Reporting = { context, run, runsItself: nothing };
  const engine = engineReporter(context, run, execution);
  let isOurs = Promise.resolve(true);
  /** Ends the wait of Running for a program that the worker has ended or leaves to the next one. */
  const givenUp = new AbortController();
  /** The states take effect in their order, also if the program ends before the server has taken Running. */
  const afterBegin = async (act: () => Promise<void>): Promise<null> => {
    await run.lines?.end();
    if (await isOurs) await act();
    return null;
  };
  return {
    begun() {
      isOurs = hasBegun(run, execution).then((begun) => !begun || reportRunning(reporting, rules, givenUp.signal));
      // A failure counts at the end. Without this, it would end the worker before.
      isOurs.catch(() => {});
    },
    async hasReportedBegin() {
      givenUp.abort();
      await isOurs.catch(() => {});
    },
    ended: (ending) => afterBegin(() => reportEnd(reporting, execution, ending)),
    killed(by, ending) {
      givenUp.abort();
      return afterBegin(async () => void (await engine.killed(by, ending)));
    },
    cancelled: () => afterBegin(async () => void (await engine.cancelled())),
    timedOut: (seconds) => afterBegin(() => propose(reporting, timedOutState(seconds))),
  };
}

/**
 * Waits until the program runs. A pod may wait long for a node. Returns false if the program is stopped before, or if the
 * infrastructure could not start it.
 */
async function hasBegun({ stop }: RunRecord, { started, ended }: Execution): Promise<boolean> {
  const outcome = Promise.race([ended, started.then(() => "started" as const)]);
  await waitUnlessAborted(outcome, stop.signal);
  const known = await Promise.race([outcome, Promise.resolve("stopped" as const)]);
  if (typeof known === "string") return known === "started";
  return known.kind === "exited" && !known.isCrash;
}

/**
 * Reports Running. Returns false if the flow run is not in the hands of this worker any more. Then its program is stopped,
 * and nothing else is reported.
 */
async function reportRunning(reporting: Reporting, rules: ReportRules, givenUp: AbortSignal): Promise<boolean> {
  const { context, run } = reporting;
  let { flowRun } = run;
  // The worker that started an adopted program may have reported its states.
  if (run.startedAt === null) {
    const current = await readCurrent(reporting);
    const type = current?.state_type;
    if (type === "SCHEDULED") await releaseRetry(reporting);
    if (!current || type === "SCHEDULED" || type === "PAUSED" || isFinal(current.state))
      return stopOther(run, current?.state);
    if ((await findHolder(reporting.context.api, run)) === "somebody else") return stopOther(run, current.state);
    if (type !== "PENDING") return true;
    flowRun = current;
  }
  await setRetries(context, { flowRun, log: run.log, rules });
  const decision = await proposeRunning(context, run, givenUp);
  if (decision === "given up" || decision?.kind === "accepted") return true;
  if (decision?.state?.type !== "CANCELLING") return stopOther(run, decision?.state);
  run.stop.abort({ kind: "cancel" });
  return true;
}

/**
 * The server lets a program wait that began too early, because the clock of its machine is wrong. `givenUp` ends this wait. A
 * program that has failed waits too, because the server only retries what was Running.
 */
async function proposeRunning(
  context: RunContext,
  run: RunRecord,
  givenUp: AbortSignal,
): Promise<Decision | undefined | "given up"> {
  try {
    return await report(context, run, runningState, { waitSignal: givenUp });
  } catch (error) {
    if (givenUp.aborted && error === givenUp.reason) return "given up";
    throw error;
  }
}

function stopOther({ stop, flowRun, log }: RunRecord, state: State | null | undefined): false {
  log.info(`Flow run '${flowRun.name}' is ${state?.name ?? "deleted"} by now; its program is stopped.`);
  stop.abort({ kind: "cancel" });
  return false;
}

interface RetriedRun {
  readonly flowRun: FlowRun;
  readonly log: Logger;
  readonly rules: ReportRules;
}

/** Sets the retries of the job if the flow run has none of its own. The server counts the attempts. */
async function setRetries({ api }: RunContext, { flowRun, log, rules }: RetriedRun): Promise<void> {
  const { empirical_policy: policy, id } = flowRun;
  if (rules.retries === null || typeof policy?.retries === "number") return;
  const empirical_policy = {
    ...policy,
    retries: rules.retries,
    retry_delay: policy?.retry_delay ?? rules.retryDelaySeconds,
  };
  try {
    await updateFlowRun(api, id, { empirical_policy }, forReport);
  } catch (error) {
    // Without its states, the flow run would stay in Pending for ever.
    log.warn({ err: error }, "The server does not take the retries of the job, so the flow run has none.");
  }
}

async function reportEnd(reporting: Reporting, execution: Execution, ending: Ending): Promise<void> {
  const { context, run } = reporting;
  if (ending.kind === "gone") {
    await reportLost(reporting, ending);
    return;
  }
  const result = parseResult((await execution.readResult?.()) ?? "");
  await createResultArtifact(context, run, result);
  if (ending.status === 0) return await propose(reporting, completedState(result.message));
  const exit = exitMessage(ending.status, context.poolType.isLocal, ending.why);
  run.log[explainExit(ending.status).level](`${exit} ${explainExit(ending.status).resolution}`);
  if (isSignal(ending.status) || ending.isCrash) {
    await reportCrash(reporting, exit, ending.output);
    return;
  }
  await propose(reporting, failedState(withReason(exit, result, run.lines?.lastLines ?? "")));
}

function withReason(exit: string, { message }: ProgramResult, lastLines: string): string {
  // A program that knows why it failed says it better.
  if (message !== null) return message;
  return lastLines === "" ? exit : `${exit} Its last lines:\n${lastLines}`;
}

/** Proposes the last state. The server may decide on a retry, or on a cancellation that nobody here knows of yet. */
async function propose(reporting: Reporting, state: StateProposal): Promise<void> {
  const { context, run } = reporting;
  const decision = await report(context, run, state);
  if (decision === undefined || decision.kind === "accepted") return;
  if (decision.state?.type === "CANCELLING") return await finishCancelled(reporting);
  if (decision.state?.type === "SCHEDULED") return await releaseRetry(reporting);
  const now = decision.state?.name ?? "unchanged";
  run.log.info(`Flow run '${run.flowRun.name}' is ${now}; ${state.name} was not accepted: ${decision.reason}`);
}

/** Lets the polls return a flow run that waits for its retry, so that any worker can take it. */
async function releaseRetry(reporting: Reporting): Promise<void> {
  const { api } = reporting.context;
  const { flowRun, log } = reporting.run;
  const current = await findFlowRun(api, flowRun.id, forReport);
  if (current?.state_type === "CANCELLING") return await finishOwnCancelled(reporting);
  if (current?.state_type !== "SCHEDULED" || current.empirical_policy?.retry_type !== "in_process") return;
  await letPollsReturn(api, current);
  // As long as it had the id of the process, a cancellation waited for the end of that process.
  const released = await findFlowRun(api, flowRun.id, forReport);
  if (released?.state_type === "CANCELLING") return await finishOwnCancelled(reporting);
  log.info(`Flow run '${flowRun.name}' is ${current.state_name}, from ${current.next_scheduled_start_time} on.`);
}

/** Reports Cancelled, unless another worker has claimed the retry, because its program may run. */
async function finishOwnCancelled(reporting: Reporting): Promise<void> {
  if ((await findHolder(reporting.context.api, reporting.run)) === "somebody else") return;
  await finishCancelled(reporting);
}
