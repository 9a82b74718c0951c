// Finds out whose the newest claim of a flow run is.
import type { Api } from "../api/api.ts";
import { readFlowRunStates } from "../api/flow-runs.ts";
import type { FlowRun } from "../api/wire.ts";
import { forReport } from "./propose-state.ts";
import { hasProposed, mayHaveProposed, type RunRecord } from "./run-record.ts";
import { isSameTime, newestState } from "./states.ts";

/**
 * Whose the newest Pending in the history is. `unrecorded`: it is a later step of this record's claim, and the journal does not
 * have it, or there is none. Then the record does not say whether the program was started.
 */
export type Holder = "this record" | "unrecorded" | "somebody else";

/** Returns whose the newest claim is. A record without proposals has other proof, and some servers send no transition ids. */
export async function findHolder(
  api: Api,
  run: Pick<RunRecord, "proposals"> & { readonly flowRun: Pick<FlowRun, "id"> },
  options: { readonly endless?: boolean; readonly signal?: AbortSignal } = forReport,
): Promise<Holder> {
  if (run.proposals.length === 0) return "this record";
  const history = await readFlowRunStates(api, run.flowRun.id, options);
  const newest = newestState(history.filter(({ type }) => type === "PENDING"));
  if (mayHaveProposed(run, newest)) return "this record";
  // Later steps have the scheduled time of the Pending that they replace, and another worker's claim has a later one.
  const isOwnStep = history.some(
    (state) =>
      hasProposed(run, state) && isSameTime(state.state_details?.scheduled_time, newest?.state_details?.scheduled_time),
  );
  return isOwnStep ? "unrecorded" : "somebody else";
}
