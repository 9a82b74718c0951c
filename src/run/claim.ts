// Claims a flow run: the worker proposes Pending, and the server decides.
import { findDeployment } from "../api/deployments.ts";
import { findFlowRun } from "../api/flow-runs.ts";
import { confirmClaim } from "./confirm-claim.ts";
import { proposeState } from "./propose-state.ts";
import { readJob } from "./read-job.ts";
import { report } from "./report.ts";
import type { RunContext } from "./run-context.ts";
import type { RunRecord } from "./run-record.ts";
import { cancelledState, pendingState, rescheduledState } from "./states.ts";

/** After an aborted claim, the worker tries for this time to set the flow run back to Scheduled. */
const rescheduleTimeoutMs = 5_000;

/**
 * Claims the flow run and returns whether it did. Returns false when the flow run cannot start here, or when the server
 * declines the claim. Throws ApiError, and the abort reason after the second signal.
 */
export async function claim(context: RunContext, run: RunRecord): Promise<boolean> {
  const { flowRun, log } = run;
  const obstacle = await context.infrastructure.obstacle(() => readJob(context, run));
  if (obstacle !== null) {
    log.debug({ obstacle }, `Flow run '${flowRun.id}' is left to other workers`);
    return false;
  }
  log.info(`Worker '${context.identity.name}' submitting flow run '${flowRun.id}'`);
  const page = context.identity.pageUrl();
  if (page) log.info(`Running on worker id: ${context.identity.id()}. See worker logs here: ${page}`);
  return await proposePending(context, run);
}

async function proposePending(context: RunContext, run: RunRecord): Promise<boolean> {
  const { flowRun, log } = run;
  const transitionId = crypto.randomUUID();
  const { kill } = context.services.stop;
  let decision: Awaited<ReturnType<typeof proposeState>>;
  try {
    decision = await proposeState(context.api, flowRun.id, pendingState, { transitionId, isClaim: true, signal: kill });
  } catch (error) {
    if (kill.aborted) await rescheduleIfClaimed(context, run, transitionId);
    throw error;
  }
  if (decision.kind === "aborted") {
    log.info(`Aborted submission of flow run '${flowRun.id}'. Server sent an abort signal: ${decision.reason}`);
    // Servers abort every claim of a flow run whose deployment was deleted, and still return it to every poll.
    if (decision.state?.type === "SCHEDULED" && (await isDeploymentGone(context, run)))
      await cancelOrphan(context, run);
    return false;
  }
  if (decision.state?.type !== "PENDING" || decision.kind === "rejected") {
    const type = decision.state?.type ?? "unknown";
    log.info(`Aborted submission of flow run '${flowRun.id}': Server returned a non-pending state '${type}'`);
    return false;
  }
  if (!(await confirmClaim(context.api, flowRun, decision.state, log))) return false;
  run.claim = decision.state;
  context.history.recordClaim(run, decision.state);
  return true;
}

/** Sets the flow run back to Scheduled if the server accepted the aborted claim. Its response was not received. */
async function rescheduleIfClaimed({ api, identity }: RunContext, run: RunRecord, transitionId: string): Promise<void> {
  const { id } = run.flowRun;
  const signal = AbortSignal.timeout(rescheduleTimeoutMs);
  const current = await findFlowRun(api, id, { signal });
  if (current?.state?.state_details?.transition_id !== transitionId) return;
  const message = `Not started: worker '${identity.name}' was told to end.`;
  await proposeState(api, id, rescheduledState(message), { signal });
  run.log.info(`Flow run '${run.flowRun.name}' is scheduled again; it was not started.`);
}

async function isDeploymentGone({ api, services }: RunContext, { flowRun }: RunRecord): Promise<boolean> {
  const { deployment_id: id } = flowRun;
  return id !== null && (await findDeployment(api, id, { endless: true, signal: services.stop.kill })) === undefined;
}

/** Cancels a flow run whose deployment was deleted. Throws ApiError. Source: prefect workers/base.py _check_flow_run. */
export async function cancelOrphan(context: RunContext, run: RunRecord): Promise<void> {
  const message = `Deployment ${run.flowRun.deployment_id} no longer exists, cancelled run.`;
  await report(context, run, cancelledState(message), { force: true });
  run.log.warn(message);
}
