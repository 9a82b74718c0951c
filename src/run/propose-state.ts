// Proposes a state to the server, which decides. Source: prefect utilities/engine propose_state.
import { randomUUID } from "node:crypto";
import type { Api } from "../api/api.ts";
import { readFlowRunStates, setFlowRunState } from "../api/flow-runs.ts";
import { longestPauseMs } from "../api/retry.ts";
import type { Json, State, StateProposal, StateType } from "../api/wire.ts";
import { neverAborts } from "../async/never-aborts.ts";
import { sleep } from "../async/sleep.ts";
import type { ProposalBound } from "./proposal-bound.ts";
import { newestState } from "./states.ts";

/** The server's decision. `rejected`: the server set `state` instead. `aborted`: the flow run stays in `state`. */
export type Decision =
  | { kind: "accepted"; state: State }
  | { kind: "rejected"; state: State | null; reason: string }
  | { kind: "aborted"; state: State | null; reason: string };

/**
 * The limits of the pause between two proposals, in milliseconds. A proposal that comes too early does no harm, because the
 * server says WAIT again. A mistake such as a day would keep the flow run and its slot for that day.
 */
const shortestWaitMs = 100;
const longestWaitMs = longestPauseMs;
/** Reads that decide what is reported of a claimed flow run are repeated as long as the report itself. */
export const forReport = { endless: true, retriesRefusals: true };
/** How a state is proposed. */
export interface ProposalOptions {
  /** Skips most of the server's rules. */
  force?: boolean;
  /** Ends the proposal; the abort reason is thrown. By default only a response ends it. */
  signal?: AbortSignal;
  /** Ends a wait for the bound, and one that the server asks for; the abort reason is thrown. The default is `signal`. */
  waitSignal?: AbortSignal;
  /** Refused credentials end the proposal, so that another worker can claim the flow run. */
  isClaim?: boolean;
  /** Bounds how many proposals are in flight. Reports have none, so that they never wait. */
  bound?: ProposalBound;
  /** Awaited before the proposal, with its transition id, for a caller that has to recognise the state later. */
  onProposal?: (transitionId: string) => Promise<void>;
}

/**
 * Proposes a state and returns the decision. Waits and proposes again when the server says so. A request is repeated with
 * the same transition id after a transient failure, and after refused credentials unless it is a claim. If only the
 * response was lost, the state counts as accepted: the server rejects a repeated claim with the state that has this id, and
 * before any other repetition the history is read. Throws ApiError for any other refusal, such as 404 for a deleted flow
 * run.
 */
export async function proposeState(
  api: Api,
  flowRunId: string,
  state: StateProposal,
  options: ProposalOptions = {},
): Promise<Decision> {
  // The state of a claimed flow run is proposed until the server responds.
  const { signal = neverAborts, waitSignal = signal } = options;
  // It is the same after a wait: a copy of the request that arrives late must not set the state a second time.
  const transitionId = randomUUID();
  await options.onProposal?.(transitionId);
  for (;;) {
    const proposal = {
      state: {
        type: state.type,
        name: state.name,
        message: state.message,
        ...(state.data !== undefined && { data: state.data }),
        state_details: {
          flow_run_id: flowRunId,
          transition_id: transitionId,
          scheduled_time: state.scheduledTime ?? null,
        },
      },
      force: options.force ?? false,
    };
    // While a claim stands, nobody else changes the flow run. After any other state, others may go on.
    const beforeRepeat =
      state.type === "PENDING" ? undefined : () => readDecision(api, flowRunId, { type: state.type, transitionId });
    const send = () =>
      setFlowRunState(api, flowRunId, proposal, {
        endless: true,
        // Another worker with good credentials can claim the flow run.
        retriesRefusals: !options.isClaim,
        beforeRepeat,
        signal,
      });
    const result = options.bound ? await options.bound.run(send, waitSignal) : await send();
    const reason = result.details?.reason ?? "no reason given";
    switch (result.status) {
      case "ACCEPT":
        return { kind: "accepted", state: { ...state, ...result.state } };
      case "REJECT":
        if (result.state?.state_details?.transition_id === transitionId)
          return { kind: "accepted", state: result.state };
        return { kind: "rejected", state: result.state, reason };
      case "ABORT":
        return { kind: "aborted", state: result.state, reason };
      case "WAIT":
        await sleep(waitMs(result.details?.delay_seconds ?? 1), waitSignal);
        waitSignal.throwIfAborted();
        break;
      default:
        return { kind: "aborted", state: null, reason: `the server's answer has no known status (${result.status})` };
    }
  }
}

/** Returns how long to wait when the server asks for `delaySeconds`. Pure. */
export function waitMs(delaySeconds: number): number {
  return Math.min(Math.max(delaySeconds * 1000, shortestWaitMs), longestWaitMs);
}

/**
 * Returns what the server has decided about a proposal whose response was lost; undefined if it has decided nothing. It
 * compares the transition id only with the current state, and not at all for forced states. So a repetition could set the
 * state again when others have gone on, for example when another worker has executed a flow run that was given back.
 * A retry in place of Failed has no transition id, and a repetition would end it.
 * Source: prefect server core_policy.py PreventDuplicateTransitions, MinimalFlowPolicy, RetryFailedFlows.
 */
async function readDecision(
  api: Api,
  flowRunId: string,
  { type, transitionId }: { type: StateType; transitionId: string },
): Promise<Json | undefined> {
  const history = await readFlowRunStates(api, flowRunId, forReport);
  const own = history.find(({ state_details }) => state_details?.transition_id === transitionId);
  if (own) return { status: "ACCEPT", state: own as unknown as Json, details: {} };
  const last = newestState(history.filter((state) => state.type === "RUNNING" || state.name === "AwaitingRetry"));
  if (type !== "FAILED" || last?.name !== "AwaitingRetry") return undefined;
  return { status: "REJECT", state: newestState(history) as unknown as Json, details: { reason: "Retrying" } };
}
