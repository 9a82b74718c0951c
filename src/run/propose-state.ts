// Proposing a state to the server, which decides. Source: prefect utilities/engine propose_state.
import { randomUUID } from "node:crypto";
import { setMaxListeners } from "node:events";
import type { Api } from "../api/api.ts";
import { findFlowRun, setFlowRunState } from "../api/flow-runs.ts";
import type { Json, State, StateProposal } from "../api/wire.ts";
import { sleep } from "../async/sleep.ts";

/** The server's decision. `rejected` carries the state it holds instead, `aborted` the one it stays in. */
export type Decision =
  | { kind: "accepted"; state: State }
  | { kind: "rejected"; state: State | null; reason: string }
  | { kind: "aborted"; state: State | null; reason: string };

/** The least pause between two proposals, whatever the server says. */
const shortestDelaySeconds = 0.1;
/** A claimed flow run is waited for, whatever happens to the worker. */
const never = new AbortController().signal;
setMaxListeners(0, never);

/** How a state is proposed. */
export interface ProposalOptions {
  /** Skips most of the server's rules. */
  force?: boolean;
  /** Ends waiting and repeating; the abort reason is thrown. By default only an answer ends a proposal. */
  signal?: AbortSignal;
  /** The flow run is left to other workers when the server refuses the credentials. */
  isClaim?: boolean;
  /** The id of the first proposal, for a caller that has to recognise the state later. */
  transitionId?: string;
}

/**
 * Proposes a state and returns the decision; waits and proposes again when the server says so. A request that fails for a
 * transient reason, or for its credentials unless it is a claim, is repeated with the same transition id. If only the answer was lost, the server rejects the
 * repetition with the very state that carries this id, and that is an acceptance.
 * Throws ApiError for any other refusal, such as 404 for a deleted flow run.
 */
export async function proposeState(
  api: Api,
  flowRunId: string,
  state: StateProposal,
  options: ProposalOptions = {},
): Promise<Decision> {
  const { signal = never } = options;
  for (let transitionId = options.transitionId ?? randomUUID(); ; transitionId = randomUUID()) {
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
    const result = await setFlowRunState(api, flowRunId, proposal, {
      endless: true,
      // A flow run that is not claimed yet is left to a worker whose credentials are good.
      retriesRefusals: !options.isClaim,
      beforeRepeat,
      signal,
    });
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
        await sleep(Math.max(result.details?.delay_seconds ?? 1, shortestDelaySeconds) * 1000, signal);
        signal.throwIfAborted();
        break;
      default:
        return { kind: "aborted", state: null, reason: `the server's answer has no known status (${result.status})` };
    }
  }
}

/**
 * The acceptance of a state that the flow run already has, recognised by its transition id. The server does not compare
 * the ids of forced states: one that is repeated after a lost answer would be there twice.
 * Source: prefect server core_policy.py MinimalFlowPolicy.
 */
async function readOwn(api: Api, flowRunId: string, transitionId: string): Promise<Json | undefined> {
  const { state } = (await findFlowRun(api, flowRunId, { endless: true, retriesRefusals: true })) ?? {};
  if (state?.state_details?.transition_id !== transitionId) return undefined;
  return { status: "ACCEPT", state: state as unknown as Json, details: {} };
}
