// Starts the program of a claimed flow run.
import { hasStatus } from "../api/errors.ts";
import { updateFlowRun, updateFlowRunLabels } from "../api/flow-runs.ts";
import type { State } from "../api/wire.ts";
import type { Execution, Job } from "../infrastructure/pool-type.ts";
import { workerLabels } from "../job/labels.ts";
import { cancelOrphan } from "./claim.ts";
import { confirmStart } from "./confirm-claim.ts";
import { type Decision, proposeState } from "./propose-state.ts";
import { makeJob, readRelated } from "./read-job.ts";
import { report } from "./report.ts";
import type { RunContext } from "./run-context.ts";
import { type RunRecord, stopReason } from "./run-record.ts";
import { cancelledState, crashedState, isFinal, rescheduledState, submittingState } from "./states.ts";

/** Returns the started program, or null if it could not or must not be started. Then the flow run's state is reported. */
export async function begin(context: RunContext, run: RunRecord): Promise<Execution | null> {
  const { flowRun, log } = run;
  try {
    if (!(await readRelated(context, run))) {
      await cancelOrphan(context, run);
      return null;
    }
    const job = await makeJob(context, run);
    log.debug({ job_configuration: describeJob(job) }, "job configuration");
    run.phase = "starting";
    const submitting = await proposeState(context.api, flowRun.id, submittingState);
    context.history.recordState(run, submitting.state);
    if (!(await isStillOurs(context, run, submitting))) return null;
    if (stopReason(run) || submitting.state?.type === "CANCELLING" || isFinal(submitting.state)) {
      await reportNotStarted(context, run, submitting.state);
      return null;
    }
    run.submitted = context.events.submitted(run);
    const execution = await start(context, run, job);
    log.info(`Flow run '${flowRun.name}' submitted to infrastructure`);
    reportInfrastructure(context, run);
    return execution;
  } catch (error) {
    await reportFailure(context, run, error);
    return null;
  }
}

/** Returns false if somebody set the flow run back to Scheduled after the claim, and another worker claimed it. */
async function isStillOurs({ api }: RunContext, run: RunRecord, submitting: Decision): Promise<boolean> {
  return run.claim === null || (await confirmStart(api, run.flowRun, run.claim, submitting, run.log));
}

/** Returns the job for a debug record, without the values of environment variables, because they may be secrets. */
function describeJob({ program, ...fields }: Job): object {
  return { ...fields, program: { ...program, env: Object.keys(program.env) } };
}

/** The program could not be started. Other errors happened before that, and have another state message. */
class InfrastructureError extends Error {}

async function start(context: RunContext, run: RunRecord, job: Job): Promise<Execution> {
  try {
    const execution = await context.infrastructure.start(job, {
      flowRunId: run.flowRun.id,
      onHandle: async (handle) => {
        run.handle = handle;
      },
    });
    run.phase = "running";
    return execution;
  } catch (error) {
    throw new InfrastructureError(error instanceof Error ? error.message : String(error), { cause: error });
  }
}

async function reportFailure(context: RunContext, run: RunRecord, error: unknown): Promise<void> {
  run.log.error({ err: error }, `Failed to submit flow run '${run.flowRun.name}' to infrastructure.`);
  if (error instanceof InfrastructureError) reportInfrastructure(context, run);
  const decision = await report(context, run, crashedState(submissionFailure(error)));
  // The server rejects Crashed for a flow run that was cancelled meanwhile.
  if (decision?.state?.type === "CANCELLING") await reportNotStarted(context, run, decision.state);
}

/** Returns the message of the Crashed state. Source: prefect workers/base.py, runner/_flow_run_executor.py. */
function submissionFailure(error: unknown): string {
  if (error instanceof InfrastructureError) return `Flow run could not start: ${error.message}`;
  const cause = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
  return `Failed to submit flow run to infrastructure: ${cause}`;
}

/** Reports why a claimed flow run is not started: Scheduled if the worker ends, else Cancelled. A final state is kept. */
async function reportNotStarted(context: RunContext, run: RunRecord, state: State | null): Promise<void> {
  const { flowRun, log } = run;
  const reason = stopReason(run);
  if (isFinal(state)) {
    log.info(`Flow run '${flowRun.name}' is ${state?.name} already; it is not started.`);
  } else if (reason?.kind === "kill" && state?.type !== "CANCELLING") {
    await report(context, run, rescheduledState(`Not started: worker '${context.identity.name}' ${reason.by}.`));
  } else {
    const message = context.services.cancelsPending
      ? "Flow run cancelled by worker (no infrastructure found)."
      : "Flow run was cancelled before execution started.";
    await report(context, run, cancelledState(message), { force: true });
    log.info(`Cancelled pending flow run '${flowRun.id}'`);
  }
}

/** Sends the infrastructure pid and the labels in the background. A failure is logged as a warning. */
function reportInfrastructure({ api, identity, services }: RunContext, run: RunRecord): void {
  const { flowRun, handle, log, workPool } = run;
  const untilAnswered = { endless: true };
  services.background.run(
    async () => {
      if (handle) await updateFlowRun(api, flowRun.id, { infrastructure_pid: handle.identifier }, untilAnswered);
      await updateFlowRunLabels(api, flowRun.id, workerLabels(identity, workPool), untilAnswered);
    },
    // 404: the flow run was deleted, or the server is older than labels (3.1).
    (error) => {
      const level = hasStatus(error, 404) ? "debug" : "warn";
      log[level]({ err: error }, "The flow run's process id or labels could not be reported");
    },
  );
}
