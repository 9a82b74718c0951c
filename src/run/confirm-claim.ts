// Whether an accepted claim really makes this worker the only one that executes the flow run.
//
// Why an accepted Pending is not enough. Servers decide proposals for one flow run one after the other: SQLite by BEGIN
// IMMEDIATE, PostgreSQL by SELECT FOR UPDATE. They refuse Pending from PENDING, RUNNING, PAUSED, CANCELLING and CANCELLED,
// but accept it from SCHEDULED, and also from COMPLETED without a stored result, FAILED and CRASHED. A proposal can wait
// for seconds: for the database lock, in a proxy, or between two attempts of the client. If another worker's execution
// ends meanwhile, the server accepts the late claim, and the flow run would run twice. The history hides this order,
// because the server sets the timestamp of a state before the proposal waits.
//
// The rule. The server copies the scheduled time of a SCHEDULED state into the Pending that replaces it, and into no other
// Pending (CopyScheduledTime). Therefore:
//   1. The accepted Pending has the scheduled time that the poll returned. It replaced the very state that the poll saw.
//      Proposals are decided one after the other, so no other claim can have been accepted for that state, and until this
//      one is left, every other claim is refused. The claim is exclusive; no further request is needed.
//   2. It has no scheduled time. It replaced a final state: the flow run had ended, and the state is proposed again.
//   3. It has another scheduled time. It replaced a later SCHEDULED state. That is a new attempt and rightly claimed,
//      unless the engine of the last attempt waits for this time itself (retry_type "in_process"): then it is given back.
// Cases 2 and 3 are rare, and only there the flow run and its history are read. A server that copies no scheduled time
// is recognised by its history, where no other Pending has one: there the newest state before the claim decides.
//
// Between claim and start. Somebody may set the flow run back to SCHEDULED, and another worker may claim it. The proposal
// of Submitting would then be accepted over the other worker's Pending. It carries the scheduled time of the state that it
// replaces, so the same comparison, now with the claim's own time, finds this however long the start takes. If it
// differs, the history is read: another worker's Pending with the new time means that the flow run is that worker's.
//
// What remains. Two workers can both start one flow run if somebody forces its state while a process runs; if the claim
// is set back to SCHEDULED with its old scheduled time; or if it is set back after Submitting. A server without
// Submitting (before 3.6.22) refuses that proposal with the current state: then its transition id is compared.

import type { Api } from "../api/api.ts";
import { findFlowRun, readFlowRunStates } from "../api/flow-runs.ts";
import type { FlowRun, State } from "../api/wire.ts";
import type { Logger } from "../logger.ts";
import { type Decision, proposeState } from "./propose-state.ts";
import { isFinal } from "./states.ts";

/** Whose the flow run is after an accepted claim. `restore` is the state that the claim has replaced by mistake. */
export type ClaimVerdict =
  | { kind: "ours" }
  | { kind: "somebody else's" }
  | { kind: "had ended"; restore: State }
  | { kind: "retried by its engine"; restore: State };

/** What was read about the flow run after the claim; `flowRun` is undefined when it was deleted. */
export interface ClaimEvidence {
  flowRun: Pick<FlowRun, "state" | "empirical_policy"> | undefined;
  history: readonly State[];
}

/** Reads for as long as it takes: a claimed flow run must not be lost to a server that is away for a while. */
const untilAnswered = { endless: true };

/** Whether the claim replaced the state that the poll returned, which proves that it is the only one. Pure. */
export function isExclusive(claim: State, polled: Pick<FlowRun, "next_scheduled_start_time">): boolean {
  return isSameTime(claim.state_details?.scheduled_time, polled.next_scheduled_start_time);
}

/** Decides whose the flow run is where the claim alone does not prove it. Pure. */
export function judgeClaim(claim: State, { flowRun, history }: ClaimEvidence): ClaimVerdict {
  if (!flowRun) return { kind: "somebody else's" };
  const ownId = claim.state_details?.transition_id;
  const others = history.filter((state) => state.state_details?.transition_id !== ownId);
  if (flowRun.state?.state_details?.transition_id !== ownId) {
    // A cancellation is answered by the worker that holds the claim.
    return { kind: flowRun.state?.type === "CANCELLING" ? "ours" : "somebody else's" };
  }
  if (claim.state_details?.scheduled_time) {
    const awaited = newest(others.filter(({ type }) => type === "SCHEDULED"));
    const isInProcess = flowRun.empirical_policy?.retry_type === "in_process";
    return isInProcess && awaited ? { kind: "retried by its engine", restore: awaited } : { kind: "ours" };
  }
  const copiesTime = others.some(({ type, state_details }) => type === "PENDING" && state_details?.scheduled_time);
  const before = newest(copiesTime ? others.filter(isFinal) : others);
  if (before === undefined || before.type === "SCHEDULED") return { kind: "ours" };
  return isFinal(before) ? { kind: "had ended", restore: before } : { kind: "somebody else's" };
}

/**
 * Decides whose the flow run is when Submitting was accepted with another scheduled time than that of `claim`. Another
 * worker's Pending with the new time has been replaced, or a final state that is newer than the claim. Pure.
 */
export function judgeStart(claim: State, submitting: State, history: readonly State[]): ClaimVerdict {
  const own = [claim, submitting].map(({ state_details }) => state_details?.transition_id);
  const others = history.filter((state) => !own.includes(state.state_details?.transition_id));
  const current = submitting.state_details?.scheduled_time;
  const isRival = ({ type, state_details }: State): boolean =>
    type === "PENDING" && isSameTime(state_details?.scheduled_time, current);
  if (others.some(isRival)) return { kind: "somebody else's" };
  if (current) return { kind: "ours" };
  const ended = newest(others.filter((state) => isFinal(state) && timeOf(state) > timeOf(claim)));
  return ended ? { kind: "had ended", restore: ended } : { kind: "ours" };
}

/**
 * Returns whether this worker executes the flow run that it has claimed, `polled` being the poll's answer and `claim` the
 * accepted Pending. Normally sends no request. A state that the claim replaced by mistake is proposed again.
 */
export async function confirmClaim(api: Api, polled: FlowRun, claim: State, log: Logger): Promise<boolean> {
  if (isExclusive(claim, polled)) return true;
  return await settle(api, polled, judgeClaim(claim, await readEvidence(api, polled.id)), log);
}

/**
 * Returns whether the flow run is still this worker's when Submitting has been proposed, `claim` being its accepted
 * Pending. Normally sends no request.
 */
export async function confirmStart(
  api: Api,
  polled: FlowRun,
  claim: State,
  submitting: Decision,
  log: Logger,
): Promise<boolean> {
  const { state } = submitting;
  if (state?.type !== "PENDING") return true;
  if (submitting.kind !== "accepted") {
    const holder = state.state_details?.transition_id;
    if (!holder || holder === claim.state_details?.transition_id) return true;
    return await settle(api, polled, { kind: "somebody else's" }, log);
  }
  const claimed = claim.state_details?.scheduled_time;
  const current = state.state_details?.scheduled_time;
  if (isSameTime(claimed, current) || (!claimed && !current)) return true;
  const { history } = await readEvidence(api, polled.id);
  return await settle(api, polled, judgeStart(claim, state, history), log);
}

async function readEvidence(api: Api, id: string): Promise<ClaimEvidence> {
  const flowRun = await findFlowRun(api, id, untilAnswered);
  return { flowRun, history: flowRun ? await readFlowRunStates(api, id, untilAnswered) : [] };
}

/** Acts on the verdict and returns whether the flow run is this worker's. */
async function settle(api: Api, { id, name }: FlowRun, verdict: ClaimVerdict, log: Logger): Promise<boolean> {
  if (verdict.kind === "ours") return true;
  if (verdict.kind === "somebody else's") {
    log.info(`Aborted submission of flow run '${id}': another worker has it.`);
    return false;
  }
  const { restore } = verdict;
  // Not forced: if somebody has gone further meanwhile, that stands.
  const decision = await proposeState(api, id, {
    type: restore.type,
    name: restore.name,
    message: restore.message,
    ...(restore.data != null && { data: restore.data }),
    ...(restore.type === "SCHEDULED" && { scheduled_time: restore.state_details?.scheduled_time ?? "" }),
  });
  const why = verdict.kind === "had ended" ? "had ended" : "was being retried by its own process";
  const outcome = decision.kind === "accepted" ? "was restored" : `could not be restored: ${decision.reason}`;
  log.info(`Flow run '${name}' ${why} when the claim took effect. Its state '${restore.name}' ${outcome}.`);
  return false;
}

/** The state with the latest timestamp. */
function newest(states: readonly State[]): State | undefined {
  return states.reduce<State | undefined>((last, one) => (last && timeOf(last) > timeOf(one) ? last : one), undefined);
}

function timeOf({ timestamp }: State): number {
  return Date.parse(timestamp ?? "") || 0;
}

/** Compares as text, because servers send microseconds and Date would drop them. Undefined and null equal nothing. */
function isSameTime(one: string | null | undefined, other: string | null | undefined): boolean {
  const normal = (time: string): string => time.replace(/(\.\d+?)0+(?=Z|[+-]|$)/, "$1").replace(/(\+00:?00|Z)$/, "Z");
  return !!one && !!other && normal(one) === normal(other);
}
