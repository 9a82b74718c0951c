// Lets any worker take the retry of a flow run whose process has ended.
import type { Api } from "../api/api.ts";
import { updateFlowRun } from "../api/flow-runs.ts";
import type { FlowRun } from "../api/wire.ts";
import { forReport } from "./propose-state.ts";

/**
 * Changes the retry type, so that polls return the flow run when it is scheduled. The server thinks that an engine waits for
 * the retry. Source: prefect server core_policy.py RetryFailedFlows.
 */
export async function letPollsReturn(
  api: Api,
  { id, empirical_policy: policy }: Pick<FlowRun, "id" | "empirical_policy">,
): Promise<void> {
  const empirical_policy = { ...policy, retry_type: "reschedule" };
  // A scheduled flow run with the id of a process would wait in Cancelling for the end of that process.
  await updateFlowRun(api, id, { empirical_policy, infrastructure_pid: null }, forReport);
}
