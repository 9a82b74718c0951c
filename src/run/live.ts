// Executes one flow run from the claim to its end.
// Source: prefect workers/base.py _submit_run, runner/_flow_run_executor.py.
import { begin } from "./begin.ts";
import { claim } from "./claim.ts";
import type { RunContext } from "./run-context.ts";
import type { RunRecord } from "./run-record.ts";
import { watch } from "./watch.ts";

/**
 * Executes a scheduled flow run to its end, and frees its slot. Returns whether the flow run was claimed. Never throws: a
 * failure is logged and, where possible, reported as a state of the flow run.
 */
export async function live(context: RunContext, run: RunRecord): Promise<boolean> {
  using _slot = run.slot;
  try {
    if (!(await claim(context, run))) return false;
    await using execution = await begin(context, run);
    if (execution) await watch(context, run, execution);
  } catch (error) {
    run.log.error({ err: error }, `Failed to update state of flow run '${run.flowRun.id}'`);
  }
  return run.times.claimed !== null;
}
