// Starts the program of a claimed flow run.
import { findFlowRun, updateFlowRun } from "../api/flow-runs.ts";
import type { LogRecord, PrefectEvent, State } from "../api/wire.ts";
import { LinkedController } from "../async/linked-controller.ts";
import type { Execution, Handle } from "../infrastructure/execution.ts";
import type { Job, RunAccess } from "../infrastructure/pool-type.ts";
import { ShortageError } from "../process/system-errors.ts";
import type { ReportRules } from "../program/program.ts";
import { cancelOrphan, confirmStep, giveBack, recordProposal } from "./claim.ts";
import { claimMessage } from "./claimant.ts";
import { keep } from "./journal-entry.ts";
import { cancelUnstarted, setBack } from "./last-reports.ts";
import { ProgramLines } from "./program-lines.ts";
import { ProgressArtifact } from "./progress-artifact.ts";
import { type Decision, forReport, proposeState } from "./propose-state.ts";
import { makeJob, readRelated } from "./read-job.ts";
import { report, reportInBackground } from "./report.ts";
import { hasOldLabels, reportLabels } from "./report-labels.ts";
import { isAwaited, reportWaiting } from "./report-waiting.ts";
import type { RunContext } from "./run-context.ts";
import { mayHaveProposed, noteBegin, type RunRecord, stopReason } from "./run-record.ts";
import { crashedState, isFinal, submittingState } from "./states.ts";

/** Returns the started program, or null if it could not or must not be started. Then the flow run's state is reported. */
export async function begin(context: RunContext, run: RunRecord): Promise<Execution | null> {
  const { flowRun, log } = run;
  const onHandle = async (handle: Handle): Promise<void> => {
    run.handle = handle;
    // Before that, a container waited for its image.
    if (handle.identifier !== "") noteBegin(run);
    await keep(context, run);
  };
  let execution: Execution;
  try {
    // Other infrastructure may wait long for something else, and it does not use this machine. The wait comes before
    // Submitting, because that finds out whether the flow run was set back meanwhile.
    using place = context.poolType.isLocal ? await context.services.pacer.enter(run.stop.signal) : null;
    context.infrastructure.expect?.();
    const job = await prepare(context, run);
    if (job === null) return null;
    applyRules(context, run, job.program.reporter === "worker" ? job.program.rules : null);
    run.submitted = context.events.submitted(run);
    noteBegin(run);
    execution = await context.infrastructure.start(job, {
      ...runAccess(context, run, run.stop.signal),
      instance: context.services.instance.instance,
      proposals: run.proposals,
      onHandle,
    });
    place?.keepUntilStarted(execution);
  } catch (error) {
    if (stopReason(run) && error === run.stop.signal.reason) {
      // An earlier request may have started it although there was no response.
      const current = context.poolType.isLocal ? null : await findFlowRun(context.api, flowRun.id, forReport);
      await reportNotStarted(context, run, current?.state ?? null);
      return null;
    }
    if (error instanceof ShortageError) await reportShortage(context, run, error);
    else await reportFailure(context, run, error);
    return null;
  }
  run.phase = "running";
  log.info(`Flow run '${flowRun.name}' submitted to infrastructure`);
  reportInfrastructure(context, run);
  return execution;
}

/** Returns what infrastructure needs to know of a flow run. `signal` ends its waits. */
export function runAccess(context: RunContext, run: RunRecord, signal: AbortSignal): RunAccess {
  const { events, services } = context;
  const { logs } = services;
  let last: PrefectEvent | null = null;
  return {
    flowRunId: run.flowRun.id,
    directory: services.journal.directoryOf(run.flowRun.id),
    signal,
    onEvent: (event) => {
      last = events.infrastructure(run, event, last);
    },
    onLine: run.lines && ((line) => run.lines?.add(line)),
    linesSettled: run.lines && logs && ((options) => logs.settled(options)),
    onWaiting: (reason) => reportWaiting(context, run, reason),
    isAwaited: () => isAwaited(context, run, signal),
  };
}

/** Sets how the states of a flow run are reported. With null, an engine reports them. Called before its program is watched. */
export function applyRules(context: RunContext, run: RunRecord, rules: ReportRules | null): void {
  run.rules = rules;
  if (rules === null) return;
  const { logs, redact } = context.services;
  const ship = logs && ((record: LogRecord) => logs.ship(record));
  const progress = new ProgressArtifact(context, run);
  run.lines = new ProgramLines({ flowRunId: run.flowRun.id, ship, redact, progress });
}

/** Reads what the job is made of and proposes Submitting. Returns null if the flow run must not be started. */
async function prepare(context: RunContext, run: RunRecord): Promise<Job | null> {
  if ((await unlessStopped(run, readRelated(context, run))) === false) {
    await cancelOrphan(context, run);
    return null;
  }
  run.phase = "starting";
  // Blocks and variables are read while Submitting is proposed. Both have an end before anything else is reported.
  const [job, submitting] = await Promise.allSettled([
    unlessStopped(run, describedJob(context, run)),
    proposeSubmitting(context, run),
  ]);
  if (submitting.status === "rejected") throw submitting.reason;
  const { state } = submitting.value;
  context.history.recordState(run, state);
  if (!(await isStillOurs(context, run, submitting.value))) return null;
  // A server writes one thing at a time, and the claim names this worker too. So the states come first.
  if (!hasOldLabels(run)) reportLabels(context, run);
  if (job.status === "rejected") throw job.reason;
  if (job.value === null || stopReason(run) || state?.type === "CANCELLING" || isFinal(state)) {
    await reportNotStarted(context, run, state);
    return null;
  }
  return job.value;
}

async function describedJob(context: RunContext, run: RunRecord): Promise<Job> {
  const job = await makeJob(context, run);
  run.log.debug({ job_configuration: describeJob(job) }, "job configuration");
  return job;
}

/** Returns the result; null when the flow run is to be stopped, because then nothing is started, and a failure does not matter. */
async function unlessStopped<T>(run: RunRecord, result: Promise<T>): Promise<T | null> {
  try {
    return await result;
  } catch (error) {
    if (stopReason(run)) return null;
    throw error;
  }
}

/** Proposes Submitting. A stop ends a wait that the server asks for. Then the flow run still has the state of its claim. */
async function proposeSubmitting(context: RunContext, run: RunRecord): Promise<Decision> {
  const { signal } = run.stop;
  try {
    return await proposeState(context.api, run.flowRun.id, submittingState(claimMessage(context)), {
      waitSignal: signal,
      bound: context.services.proposals,
      onProposal: (transitionId) => recordProposal(context, run, transitionId),
    });
  } catch (error) {
    if (!signal.aborted || error !== signal.reason) throw error;
    return { kind: "aborted", state: run.claim, reason: "it is stopped" };
  }
}

/** Returns false if somebody set the flow run back after the claim. Then nothing is started and nothing is reported. */
async function isStillOurs(context: RunContext, run: RunRecord, submitting: Decision): Promise<boolean> {
  const { claim } = run;
  return claim === null || (await confirmStep(context, run, claim, submitting));
}

/** Returns the job for a debug record, without the values of variables and parameters, because they may be secrets. */
function describeJob({ program, ...fields }: Job): object {
  return { ...fields, program: { ...program, env: Object.keys(program.env), parameters: undefined } };
}

/** Reports Crashed, unless the flow run belongs to somebody else by now. The message tells a program that could not be started from a failure on the way there. */
async function reportFailure(context: RunContext, run: RunRecord, error: unknown): Promise<void> {
  const { name, message } = error instanceof Error ? error : { name: "Error", message: String(error) };
  const failure = `Failed to submit flow run '${run.flowRun.name}' to infrastructure.`;
  if (isFault(error)) run.log.error({ err: error }, failure);
  else run.log.error(`${failure}\n${message}`);
  // Source: prefect workers/process.py, which starts programs by a runner.
  const wasSubmitted = run.submitted !== null && context.poolType.isLocal;
  // Source: prefect workers/base.py, runner/_flow_run_executor.py.
  const reason = wasSubmitted
    ? `Flow run could not start: ${message}`
    : `Failed to submit flow run to infrastructure: ${name}: ${message}`;
  if (await isLost(context, run)) return;
  const decision = await report(context, run, crashedState(reason));
  // The server rejects Crashed for a flow run that was cancelled meanwhile.
  if (decision?.state?.type === "CANCELLING") await reportNotStarted(context, run, decision.state);
}

/** Returns whether an error is a fault of lictor, which needs a stack. All others say what is wrong with the job or the machine. */
function isFault(error: unknown): boolean {
  return [TypeError, RangeError, ReferenceError, SyntaxError].some((kind) => error instanceof kind);
}

/** Gives the flow run back because this machine lacks something now, unless the flow run belongs to somebody else by now. */
async function reportShortage(context: RunContext, run: RunRecord, shortage: ShortageError): Promise<void> {
  const { flowRun, log } = run;
  context.services.machine.failed(shortage);
  const { state } = (await findFlowRun(context.api, flowRun.id, forReport)) ?? {};
  // The server would accept Scheduled in place of a final state, and the flow run would be executed again.
  if (state?.type === "PENDING" && mayHaveProposed(run, state)) {
    await giveBack(context, run, `could not start its process. ${shortage.message.replace(/\.$/, "")}`);
  } else if (state?.type === "CANCELLING") {
    await cancelUnstarted(context, run);
  } else {
    log.info(`Flow run '${flowRun.name}' is ${state?.name ?? "deleted"} by now; it is left as it is.`);
  }
}

/** Returns whether somebody set the flow run back since the claim. Nothing was started here, so nobody here runs it. */
async function isLost({ api }: RunContext, { flowRun, log }: RunRecord): Promise<boolean> {
  const { state } = (await findFlowRun(api, flowRun.id, forReport)) ?? {};
  if (state?.type !== "RUNNING" && state?.type !== "PAUSED" && state?.type !== "SCHEDULED") return false;
  log.info(`Flow run '${flowRun.name}' is '${state.name}' by now; it is not reported as crashed.`);
  return true;
}

/** Reports why a claimed flow run is not started: Scheduled if the worker ends, else Cancelled. A final state is kept. */
async function reportNotStarted(context: RunContext, run: RunRecord, state: State | null): Promise<void> {
  const { flowRun, log } = run;
  const reason = stopReason(run);
  if (isFinal(state)) {
    log.info(`Flow run '${flowRun.name}' is ${state?.name} already; it is not started.`);
  } else if (reason?.kind === "kill" && state?.type === "RUNNING") {
    log.info(`Flow run '${flowRun.name}' runs already; it is left as it is.`);
  } else if (reason?.kind === "kill" && state?.type !== "CANCELLING") {
    await setBack(context, run, `Not started: worker '${context.identity.name}' ${reason.by}.`);
  } else {
    await cancelUnstarted(context, run);
  }
}

/** Sends the infrastructure pid in the background, for those who look for the program. A flow run that is set back has none. */
export function reportInfrastructure(context: RunContext, run: RunRecord): void {
  const { flowRun, handle, setBack } = run;
  if (!handle?.identifier) return;
  const body = { infrastructure_pid: handle.identifier };
  reportInBackground(context, run, "process id", async ({ endless, signal }) => {
    using end = new LinkedController(signal, setBack.signal);
    try {
      await updateFlowRun(context.api, flowRun.id, body, { endless, signal: end.signal });
    } catch (error) {
      if (!setBack.signal.aborted) throw error;
    }
  });
}
