// Reports states and facts of a flow run to the server.
import { hasStatus } from "../api/errors.ts";
import type { StateProposal } from "../api/wire.ts";
import { type Decision, type ProposalOptions, proposeState } from "./propose-state.ts";
import type { RunContext } from "./run-context.ts";
import type { RunRecord } from "./run-record.ts";

/**
 * Reports a state without secrets in its message, and returns the decision; undefined when the flow run was deleted. The
 * server declines the state if the engine has reported a final state, which is no failure. Throws ApiError for any other
 * refusal, and the reason of `waitSignal`.
 */
export async function report(
  context: RunContext,
  run: RunRecord,
  state: StateProposal,
  options: Pick<ProposalOptions, "force" | "waitSignal"> = {},
): Promise<Decision | undefined> {
  const { id } = run.flowRun;
  const message = state.message && context.services.redact(state.message);
  try {
    const decision = await proposeState(context.api, id, { ...state, message }, options);
    context.history.recordState(run, decision.state);
    if (state.type === "CRASHED" && decision.kind === "accepted") {
      run.log.info(`Reported flow run '${id}' as crashed: ${message}`);
    }
    return decision;
  } catch (error) {
    if (!hasStatus(error, 404)) throw error;
    run.log.debug(`Flow run '${id}' was deleted; its state was not reported.`);
    return undefined;
  }
}

/**
 * Sends something about a flow run that nobody waits for, until the server responds or the program closes. A failure is a
 * warning, except a 404: the flow run was deleted, or the server is too old for the request. `what` completes "The flow
 * run's … could not be reported".
 */
export function reportInBackground(
  { services }: RunContext,
  { log }: RunRecord,
  what: string,
  send: (options: { endless: true; signal: AbortSignal }) => Promise<unknown>,
): void {
  void services.background.run(
    async (signal) => await send({ endless: true, signal }),
    (error) =>
      log[hasStatus(error, 404) ? "debug" : "warn"]({ err: error }, `The flow run's ${what} could not be reported`),
  );
}
