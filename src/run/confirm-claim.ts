// Finds out whether this worker executes a flow run that it claimed, and undoes a claim that replaced something else.
import type { Api } from "../api/api.ts";
import { findFlowRun, readFlowRunStates } from "../api/flow-runs.ts";
import type { FlowRun, State } from "../api/wire.ts";
import { neverAborts } from "../async/never-aborts.ts";
import type { Logger } from "../logger.ts";
import {
  type ClaimEvidence,
  type ClaimVerdict,
  isDue,
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
import { isFinal, isSameTime } from "./states.ts";

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
  const verdict = judgeClaim(claim, evidence, polled);
  if (verdict.kind === "came too early") {
    // The claim stands, so nothing but the server's response ends these reads. An engine waits for the time, here or where it runs already.
    if ((await readRules(context, run, neverAborts)) === null) {
      if (verdict.isRetry)
        log.info(
          `Flow run '${polled.name}' is being retried by its own process, which goes on from the accepted claim.`,
        );
      return !verdict.isRetry;
    }
    if (verdict.isRetry) await letPollsReturn(api, { ...polled, ...evidence.flowRun });
  }
  const left = await applyVerdict(api, run, claim, verdict);
  // It was cancelled before that state was there again. Then only the worker with the claim reports its end.
  return verdict.kind === "ours" || left?.type === "CANCELLING";
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
  const verdict = judgeStart(claim, state, history);
  await applyVerdict(api, { flowRun: polled, log }, claim, verdict);
  return verdict.kind === "ours";
}

/** Says who has a flow run that was set back and is in this state now. */
function holderOf(state: State | null | undefined): string {
  if (!state) return "it has no state any more.";
  if (state.type === "SCHEDULED") return `it is '${state.name}' again.`;
  return `another worker has it. Its state is '${state.name}'.`;
}

async function readEvidence(api: Api, id: string): Promise<ClaimEvidence> {
  const flowRun = await findFlowRun(api, id, forReport);
  return { flowRun, history: flowRun ? await readFlowRunStates(api, id, forReport) : [] };
}

/** Acts on the verdict. Returns the state in which the flow run is left if one that was replaced could not be restored. */
async function applyVerdict(
  api: Api,
  run: Pick<RunRecord, "flowRun" | "log">,
  claim: State,
  verdict: ClaimVerdict,
): Promise<State | null> {
  if (verdict.kind === "ours") return null;
  if (verdict.kind === "somebody else's") {
    run.log.info(`Aborted submission of flow run '${run.flowRun.id}': another worker has it.`);
    return null;
  }
  const decision = await restore(api, run, { claim, replaced: verdict.restore });
  return decision.kind === "accepted" ? null : decision.state;
}

/**
 * Proposes a state again that was replaced by mistake. Not forced, so that a newer state of somebody else stands. A time that
 * has come is left to the server, which takes its own. So no claim from before has the same time.
 */
async function restore(
  api: Api,
  { flowRun: { id, name }, log }: Pick<RunRecord, "flowRun" | "log">,
  { claim, replaced }: { claim: State; replaced: State },
): Promise<Decision> {
  const decision = await proposeState(api, id, {
    type: replaced.type,
    name: replaced.name,
    message: replaced.message,
    ...(replaced.data != null && { data: replaced.data }),
    ...(replaced.type === "SCHEDULED" &&
      !isDue(claim) && { scheduledTime: claim.state_details?.scheduled_time ?? null }),
  });
  const outcome = decision.kind === "accepted" ? "was restored" : `could not be restored: ${decision.reason}`;
  const what = isFinal(replaced) ? "had ended" : "was scheduled again";
  log.info(`Flow run '${name}' ${what} when the claim took effect. Its state '${replaced.name}' ${outcome}.`);
  return decision;
}
