// Claims a flow run: the worker proposes Pending, and the server decides.
import { findDeployment } from "../api/deployments.ts";
import { findFlowRun, readFlowRunStates } from "../api/flow-runs.ts";
import type { State } from "../api/wire.ts";
import { abortLater } from "../async/abort-later.ts";
import { timeoutSignal } from "../async/clock.ts";
import { sleep } from "../async/sleep.ts";
import { claimMessage } from "./claimant.ts";
import { confirmClaim, confirmStart } from "./confirm-claim.ts";
import { keep } from "./journal-entry.ts";
import { cancelUnstarted, setBack } from "./last-reports.ts";
import { type Decision, forReport, proposeState } from "./propose-state.ts";
import { readJob } from "./read-job.ts";
import { report } from "./report.ts";
import { hasOldLabels, reportLabels } from "./report-labels.ts";
import type { RunContext } from "./run-context.ts";
import { hasProposed, type RunRecord } from "./run-record.ts";
import { cancelledState, newestState, pendingState } from "./states.ts";

/** A claim in flight at the second signal may take this time to get its response. Servers usually take 10 to 50 ms. */
const responseAfterKillMs = 5_000;
/** Without that response, the flow run is watched for this time, because a slow server may still accept the claim. */
const acceptedLateMs = 5_000;
/** The pause between two looks at the flow run. */
const lookPauseMs = 500;

/**
 * Claims the flow run and returns whether it did. Returns false when the flow run cannot start here, or when the server
 * declines the claim. Throws ApiError, and the abort reason after the second signal.
 */
export async function claim(context: RunContext, run: RunRecord): Promise<boolean> {
  const { flowRun, log } = run;
  const obstacle = await context.infrastructure.obstacle(() => readJob(context, run));
  context.services.machine.foundObstacle(obstacle);
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
  const { kill } = context.services.stop;
  kill.throwIfAborted();
  // The server goes on with a request whose connection was closed. So the response is waited for, up to a limit.
  using request = abortLater(kill, responseAfterKillMs);
  let decision: Decision;
  try {
    decision = await proposeState(context.api, flowRun.id, pendingState(claimMessage(context)), {
      isClaim: true,
      signal: request.signal,
      waitSignal: kill,
      bound: context.services.proposals,
      onProposal: (transitionId) => recordProposal(context, run, transitionId),
    });
  } catch (error) {
    if (request.signal.aborted) await rescheduleIfClaimed(context, run);
    throw error;
  }
  if (decision.kind === "aborted") {
    log.info(`Aborted submission of flow run '${flowRun.id}'. Server sent an abort signal: ${decision.reason}`);
    // Servers abort every claim of a flow run whose deployment was deleted, and still return it to every poll.
    if (decision.state?.type === "SCHEDULED" && (await isDeploymentGone(context, run)))
      await cancelOrphan(context, run);
    return false;
  }
  if (decision.state?.type === "CANCELLING" && (await wasClaimed(context, run))) {
    await cancelUnstarted(context, run);
    return false;
  }
  if (decision.state?.type !== "PENDING" || decision.kind === "rejected") {
    const type = decision.state?.type ?? "unknown";
    log.info(`Aborted submission of flow run '${flowRun.id}': Server returned a non-pending state '${type}'`);
    return false;
  }
  return await acceptClaim(context, run, decision.state);
}

/**
 * Returns whether this worker still decides about the flow run after a step that follows `before`, as `confirmStart` does. A late
 * Submitting of an earlier claim is a step of this claim from then on, so that this worker and the next one recognise it.
 * Throws ApiError.
 */
export async function confirmStep(
  context: RunContext,
  run: RunRecord,
  before: State,
  step: Decision,
): Promise<boolean> {
  const onLateSubmitting = (transitionId: string): Promise<void> => recordProposal(context, run, transitionId);
  return await confirmStart(context.api, run.flowRun, before, step, { log: run.log, onLateSubmitting });
}

/** Stores the transition id in the journal before the proposal, so that the next worker recognises an accepted claim. */
export async function recordProposal(context: RunContext, run: RunRecord, transitionId: string): Promise<void> {
  run.proposals.push(transitionId);
  await keep(context, run);
}

/**
 * Returns whether the newest claim is one of the record's proposals, although its response was lost. Then only this worker
 * can end a flow run that was cancelled since.
 */
async function wasClaimed({ api }: RunContext, run: RunRecord): Promise<boolean> {
  const history = await readFlowRunStates(api, run.flowRun.id, forReport);
  return hasProposed(run, newestState(history.filter(({ type }) => type === "PENDING")));
}

/** Records the accepted claim. Returns false if it is not exclusive. If that cannot be found out, it is given back. */
async function acceptClaim(context: RunContext, run: RunRecord, claim: State): Promise<boolean> {
  try {
    if (!(await confirmClaim(context, run, claim))) return false;
    run.claim = claim;
    run.isClaimUnknown = false;
    context.history.recordClaim(run, claim);
    if (hasOldLabels(run)) reportLabels(context, run);
    return true;
  } catch (error) {
    // Otherwise the flow run would stay in Pending for ever.
    await giveBack(context, run, "could not confirm its claim");
    throw error;
  }
}

/** Sets a claimed flow run back to Scheduled, for any worker. `by` completes "worker 'w' …". Throws ApiError. */
export async function giveBack(context: RunContext, run: RunRecord, by: string): Promise<void> {
  const { flowRun, log } = run;
  if (await setBack(context, run, `Not started: worker '${context.identity.name}' ${by}.`))
    log.info(`Flow run '${flowRun.name}' is scheduled again; it was not started.`);
}

/** Sets the flow run back to Scheduled if the server accepts the claim although its response was not received. */
async function rescheduleIfClaimed(context: RunContext, run: RunRecord): Promise<void> {
  try {
    await settleLateClaim(context, run, "was told to end", {
      over: timeoutSignal(acceptedLateMs),
      pauseMs: lookPauseMs,
    });
  } catch (error) {
    const waitedMs = responseAfterKillMs + acceptedLateMs;
    const unknown = `The server did not say within ${waitedMs / 1000} s whether it accepted the claim`;
    run.log.warn({ err: error }, `${unknown} of flow run '${run.flowRun.name}'. The flow run may stay in Pending.`);
  }
}

/**
 * Reads the flow run until it has one of the record's transition ids, or until nobody waits for the claim any more. When
 * `over` has aborted, it is read once more; `signal` ends that, too. Sets the flow run back to Scheduled if the claim took
 * effect, or to Cancelled if it was cancelled then. `by` is as in `giveBack`. Afterwards, `run.isClaimUnknown` says whether
 * the claim may still take effect. Throws ApiError, and the reason of `signal`.
 */
export async function settleLateClaim(
  context: RunContext,
  run: RunRecord,
  by: string,
  { over, signal = over, pauseMs }: { over: AbortSignal; signal?: AbortSignal; pauseMs: number },
): Promise<void> {
  const { flowRun } = run;
  run.isClaimUnknown = true;
  for (let isLast = false; !isLast && !signal.aborted; ) {
    isLast = over.aborted;
    const { state } = (await findFlowRun(context.api, flowRun.id, { endless: true, signal })) ?? {};
    if (state?.type !== "SCHEDULED") {
      run.isClaimUnknown = false;
      const isOwn = state && hasProposed(run, state);
      if (isOwn && (await confirmClaim(context, run, state))) await giveBack(context, run, by);
      // It was cancelled between two looks.
      if (state?.type === "CANCELLING" && (await wasClaimed(context, run))) await cancelUnstarted(context, run);
      return;
    }
    await sleep(pauseMs, over);
  }
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
