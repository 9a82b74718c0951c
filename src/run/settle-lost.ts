// Settles a flow run of a dead worker without its journal. The server knows all that is left of it.
import type { Api } from "../api/api.ts";
import { findFlowRun, readFlowRunStates } from "../api/flow-runs.ts";
import { limitedApi } from "../api/limited-api.ts";
import type { FlowRun, WorkPool } from "../api/wire.ts";
import { instanceLabel } from "../job/labels.ts";
import type { Logger } from "../logger.ts";
import { reportLost } from "./lost-run.ts";
import { readJobOfLost, readRules } from "./read-job.ts";
import type { RunContext } from "./run-context.ts";
import { createRunRecord, type RunRecord } from "./run-record.ts";
import { pending } from "./states.ts";

/** A flow run that is lost, as it was when it was last looked at. */
export interface LostRun {
  readonly flowRun: FlowRun;
  readonly workPool: WorkPool;
  /** What is known of its end, as a sentence. */
  readonly why: string;
  readonly log: Logger;
}

/**
 * Reports what became of the flow run, by the same rules as for one in the journal. Does nothing if its state or its
 * instance has changed. `signal` ends it, because a proposal that arrives late could hit the next attempt. Returns a function
 * that runs the hooks that are due, on this machine, or null. Throws ApiError.
 */
export async function settleLost(
  context: RunContext,
  lost: LostRun,
  signal: AbortSignal,
): Promise<(() => Promise<void>) | null> {
  const { flowRun, workPool, why, log } = lost;
  const api = limitedApi(context.api, signal);
  const current = await findFlowRun(api, flowRun.id);
  if (!current || !isUnchanged(current, flowRun)) return null;
  const run = createRunRecord({ flowRun: current, workPool, log, slot: { [Symbol.dispose]: () => undefined } });
  // Any later claim belongs to another worker.
  for (const { type, state_details } of await readFlowRunStates(api, flowRun.id))
    if (type === "PENDING" && state_details?.transition_id) run.proposals.push(state_details.transition_id);
  const { services, infrastructure } = context;
  const hooks = infrastructure.hooksOfLost({ flowRunId: flowRun.id, readJob: () => readJobOfLost(context, run) });
  const reporting = {
    context: { ...context, api },
    run,
    runsItself: hooks.runsItself,
  };
  const mayHaveBegun = await mayBegin(reporting.context, run, signal);
  const due = await reportLost(reporting, { kind: "gone", why, mayHaveBegun });
  if (due === null || (due.kind === "cancellation" && !(await isCancelledOnce(api, flowRun.id)))) return null;
  const { kill: end, leave } = services.stop;
  return async () => await hooks.run({ ...due, flowRun: run.flowRun, end, leave });
}

/**
 * Returns whether the program may have begun. The worker sends the process id right after the start, and an engine reports
 * Running first. Any other program begins without a report, so it may have begun as soon as its worker was about to start it.
 */
async function mayBegin(context: RunContext, run: RunRecord, signal: AbortSignal): Promise<boolean> {
  const { state, state_type, infrastructure_pid } = run.flowRun;
  if (state_type !== "PENDING" || infrastructure_pid !== null) return true;
  return state?.name !== pending && (await readRules(context, run, signal)) !== null;
}

/** Two workers may have settled the flow run at once. The server declines a second Crashed, but no second Cancelled. */
async function isCancelledOnce(api: Api, flowRunId: string): Promise<boolean> {
  return (await readFlowRunStates(api, flowRunId)).filter(({ type }) => type === "CANCELLED").length === 1;
}

/** Returns whether the flow run is in the same state and in the hands of the same program as before. */
export function isUnchanged(current: FlowRun, before: FlowRun): boolean {
  return stateOf(current) === stateOf(before) && current.labels?.[instanceLabel] === before.labels?.[instanceLabel];
}

function stateOf({ state, state_type }: FlowRun): string {
  return state?.id ?? `${state_type} ${state?.timestamp}`;
}
