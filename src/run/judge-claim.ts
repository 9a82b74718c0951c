// Decides whether an accepted claim is exclusive, so that only this worker executes the flow run.
//
// Why an accepted Pending is not enough. Servers decide the proposals for one flow run one after the other: SQLite by BEGIN
// IMMEDIATE, PostgreSQL by SELECT FOR UPDATE. They refuse Pending from PENDING, RUNNING, PAUSED, CANCELLING and CANCELLED.
// They accept it from SCHEDULED, FAILED, CRASHED, and COMPLETED without a stored result. A proposal can wait for seconds:
// for the database lock, in a proxy, or between two attempts of the client. If another worker's execution ends meanwhile,
// the server accepts the late claim, and the flow run would run twice. The history does not show this order, because the
// server sets the timestamp of a state before the proposal waits.
//
// The rule. The server copies the scheduled time of a SCHEDULED state into the Pending that replaces it, and into no other
// Pending (CopyScheduledTime). Therefore:
//   1. The accepted Pending has the scheduled time that the poll returned. It replaced the state that the poll returned.
//      No other claim can have been accepted for that state, because proposals are decided one after the other. While
//      this Pending stands, every other claim is refused. The claim is exclusive; no further request is needed.
//   2. It has no scheduled time. It replaced a final state. The flow run had ended, so that state is proposed again.
//   3. It has another scheduled time. It replaced a later SCHEDULED state. That is a new attempt, and the claim is valid.
//      The exception is a retry that the server leaves to the process that failed (retry_type "in_process"). An engine waits
//      for it and goes on from this Pending, because the server lets it propose Running at that time. So the Pending stays.
//      To propose SCHEDULED again would be wrong: if the engine completed meanwhile, the server would accept that, and the
//      flow run would run twice. The process of any other program has ended, and its worker lets the polls return the
//      flow run. That worker finds this Pending instead and does nothing. So the retry is proposed again. An engine also
//      waits if the time has not come. Any other program would begin too early, so the later state is proposed again.
// Cases 2 and 3 are rare. Only they read the flow run and its history. Some servers do not copy the scheduled time. In
// their history no other Pending has one, and the newest state before the claim decides.
//
// Between claim and start. Somebody may set the flow run back to SCHEDULED, and another worker may claim it. The server
// would then accept Submitting over the other worker's Pending. Submitting carries the scheduled time of the state that it
// replaces. The comparison with the claim's time finds this, however long the start takes. If the times differ, the
// history is read. Another worker's Pending with the new time means that the flow run belongs to that worker. If that worker
// got further, the server refuses Submitting and names RUNNING, PAUSED or SCHEDULED. Such a flow run is left as it is.
//
// The other worker's Submitting may itself be late: its worker died or lost the flow run, and this worker has claimed it
// since. Then the server refuses this worker's Submitting and names the other one, which has copied the time of this
// worker's claim. The other worker's own claim had another time, so it finds the difference and starts nothing. Only this
// worker is left to go on. If another Pending in the history has the same time too, the flow run is left to that worker.
//
// What remains. Two workers can both start one flow run in three cases: somebody forces its state while a process runs;
// the claim is set back to SCHEDULED with its old scheduled time; or it is set back after Submitting. A server without
// Submitting (before 3.6.22) rejects that proposal with the current state. Then the transition ids are compared.

import type { FlowRun, State } from "../api/wire.ts";
import { isFinal, isSameTime, newestState, stateTime } from "./states.ts";

/**
 * To whom the flow run belongs after an accepted claim. `restore` is the state that the claim replaced by mistake. `came too
 * early`: the claim replaced a scheduled state that only an engine can go on from, because it waits for the time. `isRetry`:
 * the server thinks that an engine waits already.
 */
export type ClaimVerdict =
  | { kind: "ours" }
  | { kind: "somebody else's" }
  | { kind: "had ended"; restore: State }
  | { kind: "came too early"; restore: State; isRetry: boolean };

/** The flow run and its history, read after the claim. `flowRun` is undefined when it was deleted. */
export interface ClaimEvidence {
  flowRun: Pick<FlowRun, "state" | "empirical_policy"> | undefined;
  history: readonly State[];
}

/** Returns whether the claim replaced the state that the poll returned. Then it is the only accepted claim. Pure. */
export function isExclusive(claim: State, polled: Pick<FlowRun, "next_scheduled_start_time">): boolean {
  return isSameTime(claim.state_details?.scheduled_time, polled.next_scheduled_start_time);
}

/** Decides to whom the flow run belongs when the claim alone does not prove it. Pure. */
export function judgeClaim(
  claim: State,
  { flowRun, history }: ClaimEvidence,
  polled: Pick<FlowRun, "next_scheduled_start_time">,
): ClaimVerdict {
  if (!flowRun) return { kind: "somebody else's" };
  const ownId = claim.state_details?.transition_id;
  const others = history.filter((state) => state.state_details?.transition_id !== ownId);
  if (flowRun.state?.state_details?.transition_id !== ownId) {
    // The worker with the claim reports the end of a cancelled flow run.
    return { kind: flowRun.state?.type === "CANCELLING" ? "ours" : "somebody else's" };
  }
  const time = claim.state_details?.scheduled_time;
  if (time) {
    const isRetry = flowRun.empirical_policy?.retry_type === "in_process";
    // Without the time that the poll returned, this may be the claim of that time.
    if (!isRetry && (isDue(claim) || !polled.next_scheduled_start_time)) return { kind: "ours" };
    const isReplaced = ({ type, state_details }: State): boolean =>
      type === "SCHEDULED" && isSameTime(state_details?.scheduled_time, time);
    const restore = newestState(others.filter(isReplaced)) ?? { ...claim, type: "SCHEDULED", name: "Scheduled" };
    return { kind: "came too early", restore, isRetry };
  }
  const copiesTime = others.some(({ type, state_details }) => type === "PENDING" && state_details?.scheduled_time);
  const before = newestState(copiesTime ? others.filter(isFinal) : others);
  if (before === undefined || before.type === "SCHEDULED") return { kind: "ours" };
  return isFinal(before) ? { kind: "had ended", restore: before } : { kind: "somebody else's" };
}

/** Returns whether the scheduled time of the claim had come, by the server's clock. This machine's clock may be wrong. Pure. */
export function isDue(claim: State): boolean {
  return Date.parse(claim.state_details?.scheduled_time ?? "") <= stateTime(claim);
}

/**
 * Decides to whom the flow run belongs when Submitting was accepted with another scheduled time than `claim` has.
 * Submitting replaced either another worker's Pending with the new time, or a final state newer than the claim. Pure.
 */
export function judgeStart(claim: State, submitting: State, history: readonly State[]): ClaimVerdict {
  const own = [claim, submitting].map(({ state_details }) => state_details?.transition_id);
  const others = history.filter((state) => !own.includes(state.state_details?.transition_id));
  const current = submitting.state_details?.scheduled_time;
  const isRival = ({ type, state_details }: State): boolean =>
    type === "PENDING" && isSameTime(state_details?.scheduled_time, current);
  if (others.some(isRival)) return { kind: "somebody else's" };
  if (current) return { kind: "ours" };
  const ended = newestState(others.filter((state) => isFinal(state) && stateTime(state) > stateTime(claim)));
  return ended ? { kind: "had ended", restore: ended } : { kind: "ours" };
}

/**
 * Returns whether `current`, the Submitting of an earlier claim, came late and replaced `claim`. Its worker does not start
 * the flow run, because the claim that it remembers has another scheduled time. Pure.
 */
export function isLateSubmitting(claim: State, current: State, history: readonly State[]): boolean {
  const hasTime = ({ type, state_details }: State): boolean =>
    type === "PENDING" && isSameTime(state_details?.scheduled_time, claim.state_details?.scheduled_time);
  if (!hasTime(current)) return false;
  return history.every((state) => !hasTime(state) || [claim, current].some((known) => isSameTransition(state, known)));
}

/** Compares the transition ids. Some servers send none. */
export function isSameTransition(one: State, other: State): boolean {
  return (one.state_details?.transition_id ?? null) === (other.state_details?.transition_id ?? null);
}
