// Proposing a state to the server, which decides. Source: prefect utilities/engine propose_state.
import { randomUUID } from "node:crypto";
import { setMaxListeners } from "node:events";
import type { ApiClient } from "../api/client.ts";
import { findFlowRun, setFlowRunState } from "../api/flow-runs.ts";
import type { Json, State, StateProposal } from "../api/wire.ts";
import { sleep } from "../async/sleep.ts";

/** The server's decision. `rejected` carries the state it holds instead, `aborted` the one it stays in. */
export type Decision =
  | { kind: "accepted"; state: State }
  | { kind: "rejected"; state: State | null; reason: string }
  | { kind: "aborted"; state: State | null; reason: string };

/** Whatever a server says, it is not asked without a pause. */
const shortestDelaySeconds = 0.1;
/** A claimed flow run is waited for, whatever happens to the worker. */
const toTheEnd = new AbortController().signal;
setMaxListeners(0, toTheEnd);

/**
 * Proposes a state and returns the decision; waits and asks again when told to. A call that fails in a way that may pass
 * is repeated until it does, always with the same transition id: if only the answer was lost, the server
 * rejects the repetition with the very state that carries this id, and that is an acceptance.
 * Throws ApiError for any other refusal, e.g. 404 for a deleted flow run.
 */
export async function proposeState(
  api: ApiClient,
  flowRunId: string,
  state: StateProposal,
  options: { force?: boolean } = {},
): Promise<Decision> {
  for (;;) {
    const transitionId = randomUUID();
    const proposal = {
      state: {
        type: state.type,
        name: state.name,
        message: state.message,
        ...(state.data !== undefined && { data: state.data }),
        state_details: {
          flow_run_id: flowRunId,
          transition_id: transitionId,
          scheduled_time: state.scheduled_time ?? null,
        },
      },
      force: options.force ?? false,
    };
    const beforeRepeat = proposal.force ? () => readOwn(api, flowRunId, transitionId) : undefined;
    const result = await setFlowRunState(api, flowRunId, proposal, { endless: true, beforeRepeat });
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
        await sleep(Math.max(result.details?.delay_seconds ?? 1, shortestDelaySeconds) * 1000, toTheEnd);
        break;
      default:
        return { kind: "aborted", state: null, reason: `the server's answer has no known status (${result.status})` };
    }
  }
}

/**
 * The acceptance of a state that the flow run has already, by its transition id. The server does not compare the ids of
 * what is forced: repeated after a lost answer, it would be there twice. Source: prefect server core_policy.py
 * MinimalFlowPolicy.
 */
async function readOwn(api: ApiClient, flowRunId: string, transitionId: string): Promise<Json | undefined> {
  const { state } = (await findFlowRun(api, flowRunId, { endless: true })) ?? {};
  if (state?.state_details?.transition_id !== transitionId) return undefined;
  return { status: "ACCEPT", state: state as unknown as Json, details: {} };
}
