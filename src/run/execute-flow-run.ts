// The whole life of one flow run in the worker's hands, top to bottom: claim, configure, start, await, report.
// Source: prefect workers/base.py _submit_run, runner/_flow_run_executor.py.
import { findDeployment, readFlow } from "../api/deployments.ts";
import { hasStatus } from "../api/errors.ts";
import { updateFlowRun, updateFlowRunLabels } from "../api/flow-runs.ts";
import * as references from "../api/references.ts";
import type { Deployment, Flow, FlowRun, State } from "../api/wire.ts";
import type { StartedInfrastructure } from "../infrastructure/infrastructure.ts";
import type { Logger } from "../logger.ts";
import { confirmClaim, confirmStart } from "./confirm-claim.ts";
import {
  type Claimed,
  type EndRequest,
  endFlowRun,
  type RelatedFlowRun,
  report,
  type Started,
} from "./end-flow-run.ts";
import { buildJobConfiguration, type JobConfiguration } from "./job-configuration.ts";
import { workerLabels } from "./labels.ts";
import { proposeState } from "./propose-state.ts";
import type { RunContext } from "./run-context.ts";
import { cancelledState, crashedState, isFinal, pendingState, rescheduledState, submittingState } from "./states.ts";

/**
 * Executes a scheduled flow run to its end and frees `slot`. `end` aborts with an EndRequest when it is to end early.
 * Says whether it was claimed. Never throws: whatever goes wrong is logged and, where it was, reported as its state.
 */
export async function executeFlowRun(
  context: RunContext,
  flowRun: FlowRun,
  slot: Disposable,
  end: AbortSignal,
): Promise<boolean> {
  using _slot = slot;
  const log = context.flowRunLog.child({ flow_run_id: flowRun.id });
  let claimState: State | undefined;
  try {
    if (await lacksPython(context, flowRun)) return false;
    log.info(`Worker '${context.workerName}' submitting flow run '${flowRun.id}'`);
    const page = context.workerPageUrl();
    if (page) log.info(`Running on worker id: ${context.workerId()}. See worker logs here: ${page}`);
    claimState = await claim(context, flowRun, log);
    const claimed = claimState && (await describe(context, flowRun, log));
    const started = claimState && claimed && (await start(context, claimed, claimState, end));
    if (started) await endFlowRun(context, started, end);
  } catch (error) {
    log.error({ err: error }, `Failed to update state of flow run '${flowRun.id}'`);
  } finally {
    context.activity.leave(flowRun.id);
  }
  return claimState !== undefined;
}

/** Without a Python, only a flow run with a command of its own is claimed; the others are left to other workers. */
async function lacksPython(context: RunContext, flowRun: FlowRun): Promise<boolean> {
  if ((await context.python).kind === "found") return false;
  const job = await configure(context, { flowRun, ...(await readRelated(context, flowRun)) });
  return job.command === null;
}

/** A claimed flow run must not be lost to a server that is away for a while. */
const patient = { endless: true };

/** What a flow run belongs to, where that cannot be had. */
const unread = { deployment: null, flow: null };

/** Claims the flow run by the state Pending and returns that; undefined when it is not this worker's to execute. */
async function claim(context: RunContext, flowRun: FlowRun, log: Logger): Promise<State | undefined> {
  const decision = await proposeState(context.api, flowRun.id, pendingState);
  if (decision.kind === "aborted") {
    log.info(`Aborted submission of flow run '${flowRun.id}'. Server sent an abort signal: ${decision.reason}`);
    // The server gives a flow run without its deployment to nobody, and returns it to every poll.
    if (decision.state?.type === "SCHEDULED" && (await isDeploymentGone(context, flowRun))) {
      await cancelOrphan(context, flowRun, log);
    }
    return undefined;
  }
  if (decision.state?.type !== "PENDING" || decision.kind === "rejected") {
    const type = decision.state?.type ?? "unknown";
    log.info(`Aborted submission of flow run '${flowRun.id}': Server returned a non-pending state '${type}'`);
    return undefined;
  }
  if (!(await confirmClaim(context.api, flowRun, decision.state, log))) return undefined;
  context.activity.claim(flowRun, decision.state);
  return decision.state;
}

async function isDeploymentGone({ api }: RunContext, { deployment_id }: FlowRun): Promise<boolean> {
  return deployment_id !== null && (await findDeployment(api, deployment_id, patient)) === undefined;
}

/** Source: prefect workers/base.py _check_flow_run. */
async function cancelOrphan(context: RunContext, flowRun: FlowRun, log: Logger): Promise<void> {
  const message = `Deployment ${flowRun.deployment_id} no longer exists, cancelled run.`;
  await report(context, { flowRun, ...unread, log }, cancelledState(message), { force: true });
  log.warn(message);
}

/** Reads what a claimed flow run belongs to; undefined when that cannot be had, which is reported. */
async function describe(context: RunContext, flowRun: FlowRun, log: Logger): Promise<Claimed | undefined> {
  try {
    const { deployment, flow } = await readRelated(context, flowRun);
    context.activity.describe(flowRun.id, { flowName: flow?.name ?? null, deploymentName: deployment?.name ?? null });
    if (flowRun.deployment_id === null || deployment !== null) return { flowRun, deployment, flow, log };
    await cancelOrphan(context, flowRun, log);
  } catch (error) {
    log.error({ err: error }, `Failed to submit flow run '${flowRun.name}' to infrastructure.`);
    await report(context, { flowRun, ...unread, log }, crashedState(submissionFailure(error)));
  }
  return undefined;
}

async function readRelated(
  context: RunContext,
  flowRun: FlowRun,
): Promise<{ deployment: Deployment | null; flow: Flow | null }> {
  const { api } = context;
  const [deployment, flow] = await Promise.all([
    flowRun.deployment_id === null ? undefined : findDeployment(api, flowRun.deployment_id, patient),
    readFlow(api, flowRun.flow_id, patient),
  ]);
  return { deployment: deployment ?? null, flow };
}

async function configure(context: RunContext, run: RelatedFlowRun): Promise<JobConfiguration> {
  const { api } = context;
  return await buildJobConfiguration({
    workPool: context.workPool(),
    flowRun: run.flowRun,
    flow: run.flow,
    deployment: run.deployment,
    workerName: context.workerName,
    workerId: context.workerId(),
    exportedSettings: context.exportedSettings(),
    workerEnvironment: context.workerEnvironment,
    readers: {
      readBlockDocument: (typeSlug, name) => references.readBlockDocument(api, typeSlug, name, patient),
      readBlockDocumentById: (id) => references.readBlockDocumentById(api, id, patient),
      findVariable: (name) => references.findVariable(api, name, patient),
    },
  });
}

/** Starts the infrastructure of a claimed flow run; undefined when it could not or must not be, which is reported. */
async function start(context: RunContext, run: Claimed, claim: State, end: AbortSignal): Promise<Started | undefined> {
  const { flowRun, log } = run;
  try {
    const job = await configure(context, run);
    const workPool = context.workPool();
    log.debug({ job_configuration: { ...job, env: Object.keys(job.env) } }, "job configuration");
    const submitting = await proposeState(context.api, flowRun.id, submittingState);
    context.activity.hear(flowRun.id, submitting.state);
    if (end.aborted || submitting.state?.type === "CANCELLING" || isFinal(submitting.state)) {
      await giveBack(context, run, submitting.state, end);
      return undefined;
    }
    if (!(await confirmStart(context.api, flowRun, claim, submitting, log))) return undefined;
    const submitted = context.events.submitted({ ...run, workPool });
    const infrastructure = await startInfrastructure(context, job, flowRun);
    log.info(`Flow run '${flowRun.name}' submitted to infrastructure`);
    describeInBackground(context, run, infrastructure.identifier);
    return { ...run, infrastructure, submitted };
  } catch (error) {
    log.error({ err: error }, `Failed to submit flow run '${flowRun.name}' to infrastructure.`);
    if (error instanceof InfrastructureError) describeInBackground(context, run, null);
    const decision = await report(context, run, crashedState(submissionFailure(error)));
    // Cancelled meanwhile: then the server takes no crash.
    if (decision?.state?.type === "CANCELLING") await giveBack(context, run, decision.state, end);
    return undefined;
  }
}

/** The infrastructure itself did not start: told apart from a failure on the way there by the state's message. */
class InfrastructureError extends Error {}

async function startInfrastructure(
  context: RunContext,
  job: JobConfiguration,
  flowRun: FlowRun,
): Promise<StartedInfrastructure> {
  try {
    return await context.poolType.start(job, flowRun.id);
  } catch (error) {
    throw new InfrastructureError(error instanceof Error ? error.message : String(error), { cause: error });
  }
}

/** The message of the Crashed state. Source: prefect workers/base.py, runner/_flow_run_executor.py. */
function submissionFailure(error: unknown): string {
  if (error instanceof InfrastructureError) return `Flow run could not start: ${error.message}`;
  const cause = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
  return `Failed to submit flow run to infrastructure: ${cause}`;
}

/** A claimed flow run that will not be started: cancelled if that was asked for, else left for another worker. */
async function giveBack(context: RunContext, run: Claimed, state: State | null, end: AbortSignal): Promise<void> {
  const request = end.reason as EndRequest | undefined;
  if (isFinal(state)) run.log.info(`Flow run '${run.flowRun.name}' is ${state?.name} already; it is not started.`);
  else if (request?.kind === "kill" && state?.type !== "CANCELLING") {
    await report(context, run, rescheduledState(`Not started: worker '${context.workerName}' ${request.by}.`));
  } else {
    const message = context.cancelsPending
      ? "Flow run cancelled by worker (no infrastructure found)."
      : "Flow run was cancelled before execution started.";
    await report(context, run, cancelledState(message), { force: true });
    run.log.info(`Cancelled pending flow run '${run.flowRun.id}'`);
  }
}

/**
 * Tells the server what is nice to know about a flow run that has been started, or could not be: then it has no
 * identifier. Nothing waits for it, and its failure is a warning, never the flow run's end.
 */
function describeInBackground(context: RunContext, { flowRun, log }: Claimed, identifier: string | null): void {
  const labels = workerLabels(context.workerName, context.workPool());
  context.background.run(
    async () => {
      if (identifier) await updateFlowRun(context.api, flowRun.id, { infrastructure_pid: identifier }, patient);
      await updateFlowRunLabels(context.api, flowRun.id, labels, patient);
    },
    // 404: the flow run was deleted, or the server is older than labels (3.1).
    (error) => {
      const level = hasStatus(error, 404) ? "debug" : "warn";
      log[level]({ err: error }, "The flow run's process id or labels could not be reported");
    },
  );
}
