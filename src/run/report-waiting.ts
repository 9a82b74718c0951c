// Reports that the program of a flow run waits for infrastructure, such as an image or a node.
// Source: prefect_kubernetes/observer.py _replicate_pod_event.
import { findFlowRun, readFlowRunStates } from "../api/flow-runs.ts";
import { limitedApi } from "../api/limited-api.ts";
import type { State, StateProposal } from "../api/wire.ts";
import { timeoutSignal } from "../async/clock.ts";
import { LinkedController } from "../async/linked-controller.ts";
import { sleep } from "../async/sleep.ts";
import { confirmStep, recordProposal } from "./claim.ts";
import { findHolder } from "./claim-holder.ts";
import { claimMessage } from "./claimant.ts";
import { type Decision, forReport, proposeState } from "./propose-state.ts";
import type { RunContext } from "./run-context.ts";
import { mayHaveProposed, type RunRecord } from "./run-record.ts";
import { infrastructurePending, infrastructurePendingState, submittingState } from "./states.ts";

/** The reason is news, so it is not worth a long wait. */
const limitMs = 5_000;

/**
 * Returns whether the flow run still waits for its program, which therefore has not begun. Waits for the server. Throws ApiError and
 * the reason of the signal.
 */
export async function isAwaited(context: RunContext, run: RunRecord, signal: AbortSignal): Promise<boolean> {
  const current = await findFlowRun(context.api, run.flowRun.id, { endless: true, signal });
  return current?.state_type === "PENDING";
}

/**
 * Sets the flow run to InfrastructurePending with this reason, if it still is Pending because of this claim. Returns false if
 * nobody waits for the program any more: the flow run has ended, was deleted, or was scheduled or claimed again. Never rejects.
 */
export async function reportWaiting(context: RunContext, run: RunRecord, reason: string): Promise<boolean> {
  const report = async (): Promise<boolean> => hasToEnd(run) || (await proposeWaiting(context, run, reason));
  const reporting = run.waitingReport.then(report);
  run.waitingReport = reporting;
  return await reporting;
}

/** The server would accept the state also after the end of the flow run. */
function hasToEnd({ phase }: RunRecord): boolean {
  return phase === "ending" || phase === "hooks" || phase === "leftovers" || phase === "left";
}

async function proposeWaiting(context: RunContext, run: RunRecord, reason: string): Promise<boolean> {
  const { flowRun, log } = run;
  // A flow run may go on without this program, and nobody waits for the report then.
  using end = new LinkedController(timeoutSignal(limitMs), context.services.stop.kill);
  const { signal } = end;
  // A proposal that is repeated late could replace the end of the flow run, and the server would accept that.
  const api = limitedApi(context.api, signal);
  const message = context.services.redact(reason);
  const propose = async (before: State, proposal: StateProposal): Promise<Decision> => {
    const onProposal = async (transitionId: string): Promise<void> => {
      await recordProposal(context, run, transitionId);
      run.lateWaiting = { before, transitionId };
    };
    const decision = await proposeState(api, flowRun.id, proposal, { signal, onProposal });
    run.lateWaiting = null;
    return decision;
  };
  try {
    const state = (await findFlowRun(api, flowRun.id, { signal }))?.state;
    if (state?.type !== "PENDING") {
      context.history.recordState(run, state ?? null);
      return state?.type === "RUNNING" || state?.type === "PAUSED" || state?.type === "CANCELLING";
    }
    if (!mayHaveProposed(run, state) && (await findHolder(api, run, { signal })) === "somebody else") return false;
    if (state.name === infrastructurePending) {
      if (state.message === message) return true;
      // The server refuses a second state of the same name.
      await propose(state, submittingState(claimMessage(context)));
    }
    const decision = await propose(state, infrastructurePendingState(message));
    context.history.recordState(run, decision.state);
    if (decision.kind !== "accepted") return true;
    // If the flow run began and ended since its state was read, the server has replaced the end. It is restored then.
    return await confirmStep(context, run, state, decision);
  } catch (error) {
    log.debug({ err: error }, "The server was not told why the flow run waits");
  }
  return true;
}

/** A server accepts a request whose sender does not wait any more. A busy one was seen to do so after ten seconds. */
const acceptedLateMs = 60_000;
const firstPauseMs = 1_000;

/**
 * After the end of the flow run, waits for the outcome of a report whose response was lost, for a minute at most. If the server
 * accepts it now, it replaces the end, and the end is restored. Usually returns at once. Throws ApiError.
 */
export async function undoLateWaiting(context: RunContext, run: RunRecord): Promise<void> {
  const { lateWaiting, flowRun } = run;
  if (lateWaiting === null) return;
  const isLate = ({ state_details }: State): boolean => state_details?.transition_id === lateWaiting.transitionId;
  using over = new LinkedController(timeoutSignal(acceptedLateMs), context.services.stop.kill);
  for (let pauseMs = firstPauseMs; !over.signal.aborted; pauseMs *= 2) {
    if ((await readFlowRunStates(context.api, flowRun.id, forReport)).some(isLate)) {
      const state = (await findFlowRun(context.api, flowRun.id, forReport))?.state;
      if (state && isLate(state)) await confirmStep(context, run, lateWaiting.before, { kind: "accepted", state });
      return;
    }
    await sleep(pauseMs, over.signal);
  }
}
