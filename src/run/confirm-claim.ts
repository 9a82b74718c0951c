// Finds out whether this worker executes a flow run that it claimed, and undoes a claim that replaced something else.
import { setMaxListeners } from "node:events";
import type { Api } from "../api/api.ts";
import { findFlowRun, readFlowRunStates } from "../api/flow-runs.ts";
import type { FlowRun, State } from "../api/wire.ts";
import type { Logger } from "../logger.ts";
import {
  type ClaimEvidence,
  type ClaimVerdict,
  isExclusive,
  isLateSubmitting,
  isSameTransition,
  judgeClaim,
  judgeStart,
} from "./judge-claim.ts";
import { type Decision, forReport, proposeState } from "./propose-state.ts";
import { readRules } from "./read-job.ts";
import { letPollsReturn } from "./release-retry.ts";
import type { RunContext } from "./run-context.ts";
import type { RunRecord } from "./run-record.ts";
import { isFinal, isSameTime, stateTime } from "./states.ts";

/**
 * Returns whether this worker executes the flow run that it claimed. `run.flowRun` is the flow run as the poll returned it, and
 * `claim` is the accepted Pending. Usually sends no request. Proposes a state again that the claim replaced by mistake.
 * Throws ApiError.
 */
export async function confirmClaim(context: RunContext, run: RunRecord, claim: State): Promise<boolean> {
  const { flowRun: polled, log } = run;
  const { api } = context;
  if (isExclusive(claim, polled)) return true;
  const evidence = await readEvidence(api, polled.id);
  const verdict = judgeClaim(claim, evidence);
  let decision: Decision;
  if (verdict.kind === "had ended") {
    decision = await restore(api, polled, verdict.restore, log);
  } else if (verdict.kind === "replaced a retry" && (await readRules(context, run, never)) !== null) {
    await letPollsReturn(api, { ...polled, ...evidence.flowRun });
    decision = await restoreRetry(api, polled, { claim, retry: verdict.retry }, log);
  } else {
    return await applyVerdict(api, polled, verdict, log);
  }
  // It was cancelled before that state was there again. Then only the worker with the claim reports its end.
  return decision.kind !== "accepted" && decision.state?.type === "CANCELLING";
}

/**
 * Returns whether this worker still decides about the flow run after the proposal of Submitting. `claim` is the accepted
 * Pending, and `submitting` is the server's decision. True for CANCELLING and final states, which the caller handles.
 * Usually sends no request. `onLateSubmitting` is awaited with the transition id of an earlier claim's Submitting that stands
 * in place of this worker's. Throws ApiError.
 */
export async function confirmStart(
  api: Api,
  polled: FlowRun,
  claim: State,
  submitting: Decision,
  { log, onLateSubmitting }: { log: Logger; onLateSubmitting: (transitionId: string) => Promise<void> },
): Promise<boolean> {
  // A decision without a state does not say who has the flow run.
  const state = submitting.state ?? (await findFlowRun(api, polled.id, forReport))?.state;
  if (state?.type === "CANCELLING" || isFinal(state)) return true;
  if (submitting.kind !== "accepted" || state?.type !== "PENDING") {
    if (state?.type === "PENDING" && isSameTransition(state, claim)) return true;
    const lateId = state?.state_details?.transition_id;
    if (state && lateId && isLateSubmitting(claim, state, (await readEvidence(api, polled.id)).history)) {
      await onLateSubmitting(lateId);
      return true;
    }
    log.info(`Aborted submission of flow run '${polled.id}': ${holderOf(state)}`);
    return false;
  }
  const claimed = claim.state_details?.scheduled_time;
  const current = state.state_details?.scheduled_time;
  if (isSameTime(claimed, current) || (!claimed && !current)) return true;
  const { history } = await readEvidence(api, polled.id);
  return await applyVerdict(api, polled, judgeStart(claim, state, history), log);
}

/** Says who has a flow run that was set back and is in this state now. */
function holderOf(state: State | null | undefined): string {
  if (!state) return "it has no state any more.";
  if (state.type === "SCHEDULED") return `it is '${state.name}' again.`;
  return `another worker has it. Its state is '${state.name}'.`;
}

/** The claim stands, so nothing but the server's response ends what is read about it. */
const never = new AbortController().signal;
setMaxListeners(0, never);

async function readEvidence(api: Api, id: string): Promise<ClaimEvidence> {
  const flowRun = await findFlowRun(api, id, forReport);
  return { flowRun, history: flowRun ? await readFlowRunStates(api, id, forReport) : [] };
}

/** Acts on the verdict and returns whether the flow run belongs to this worker. */
async function applyVerdict(api: Api, polled: FlowRun, verdict: ClaimVerdict, log: Logger): Promise<boolean> {
  const { id, name } = polled;
  if (verdict.kind === "ours") return true;
  if (verdict.kind === "somebody else's") {
    log.info(`Aborted submission of flow run '${id}': another worker has it.`);
    return false;
  }
  if (verdict.kind === "replaced a retry") {
    log.info(`Flow run '${name}' is being retried by its own process, which goes on from the accepted claim.`);
    return false;
  }
  await restore(api, polled, verdict.restore, log);
  return false;
}

/** Proposes a final state again that was replaced by mistake. Not forced, so that a newer state of somebody else stands. */
async function restore(api: Api, { id, name }: FlowRun, ended: State, log: Logger): Promise<Decision> {
  const decision = await proposeState(api, id, {
    type: ended.type,
    name: ended.name,
    message: ended.message,
    ...(ended.data != null && { data: ended.data }),
  });
  const outcome = decision.kind === "accepted" ? "was restored" : `could not be restored: ${decision.reason}`;
  log.info(`Flow run '${name}' had ended when the claim took effect. Its state '${ended.name}' ${outcome}.`);
  return decision;
}

/**
 * Proposes a retry again that the claim replaced. A time that has come is left to the server, which takes its own. So no claim
 * from before has the same time. Compares times of the server, because this machine's clock may be wrong.
 */
async function restoreRetry(
  api: Api,
  { id, name }: FlowRun,
  { claim, retry }: { claim: State; retry: State },
  log: Logger,
): Promise<Decision> {
  const time = retry.state_details?.scheduled_time ?? null;
  const isDue = time === null || Date.parse(time) <= stateTime(claim);
  const decision = await proposeState(api, id, {
    type: retry.type,
    name: retry.name,
    message: retry.message,
    ...(!isDue && { scheduledTime: time }),
  });
  const outcome = decision.kind === "accepted" ? "was restored" : `could not be restored: ${decision.reason}`;
  log.info(`Flow run '${name}' was to be retried when the claim took effect. Its state '${retry.name}' ${outcome}.`);
  return decision;
}
