// From a claimed flow run to its running program.
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

/** Starts the program of a claimed flow run. Returns null when it could not or must not be started, which is reported. */
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
      await giveBack(context, run, submitting.state);
      return null;
    }
    run.submitted = context.events.submitted(run);
    const execution = await start(context, run, job);
    log.info(`Flow run '${flowRun.name}' submitted to infrastructure`);
    tellInBackground(context, run);
    return execution;
  } catch (error) {
    await reportFailure(context, run, error);
    return null;
  }
}

/** Somebody may have set the flow run back meanwhile, so that another worker has claimed it. */
async function isStillOurs({ api }: RunContext, run: RunRecord, submitting: Decision): Promise<boolean> {
  return run.claim === null || (await confirmStart(api, run.flowRun, run.claim, submitting, run.log));
}

/** What a debug record shows of a job: no value of an environment variable, because it may be a secret. */
function describeJob({ program, ...fields }: Job): object {
  return { ...fields, program: { ...program, env: Object.keys(program.env) } };
}

/** The program did not start, as opposed to a failure on the way there: the state's message says which. */
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
  if (error instanceof InfrastructureError) tellInBackground(context, run);
  const decision = await report(context, run, crashedState(submissionFailure(error)));
  // The flow run was cancelled meanwhile: then the server takes no crash.
  if (decision?.state?.type === "CANCELLING") await giveBack(context, run, decision.state);
}

/** The message of the Crashed state. Source: prefect workers/base.py, runner/_flow_run_executor.py. */
function submissionFailure(error: unknown): string {
  if (error instanceof InfrastructureError) return `Flow run could not start: ${error.message}`;
  const cause = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
  return `Failed to submit flow run to infrastructure: ${cause}`;
}

/** A claimed flow run that will not be started: cancelled if somebody asked for that, else left for another worker. */
async function giveBack(context: RunContext, run: RunRecord, state: State | null): Promise<void> {
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

/** Tells the server process id and labels. Nothing waits for it, and a failure is a warning. */
function tellInBackground({ api, identity, services }: RunContext, run: RunRecord): void {
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
