// Settles a flow run whose program is gone, because its worker died or because another worker had started it.
import type { Ending } from "../infrastructure/execution.ts";
import { findHolder } from "./claim-holder.ts";
import { confirmClaim } from "./confirm-claim.ts";
import {
  cancellationHooks,
  finishCancelled,
  forgetProgram,
  isScheduledAgain,
  owedCrashHooks,
  type Reporting,
  readCurrent,
  reportCrash,
  scheduleAgain,
} from "./last-reports.ts";
import type { HooksDue } from "./reporter.ts";
import { isFinal } from "./states.ts";

/**
 * Reports what became of a flow run without a program. Final states stay, and so do states that say that the flow run will
 * be continued. A flow run that another worker claimed meanwhile is left to that worker.
 */
export async function reportLost(
  reporting: Reporting,
  { why, mayHaveBegun, output }: Ending & { kind: "gone" },
): Promise<HooksDue | null> {
  const { context, run } = reporting;
  const current = await readCurrent(reporting);
  const type = current?.state_type;
  if (!current || type === "PAUSED" || isFinal(current.state) || isScheduledAgain(current)) {
    run.log.info(`Flow run '${run.flowRun.name}' is ${current?.state_name ?? "deleted"}; nothing is left to do.`);
    // The server goes on with a claim whose connection was closed by the death of the worker.
    run.isClaimUnknown = type === "SCHEDULED" && run.claim === null;
    await forgetProgram(reporting, current);
    return owedCrashHooks(reporting, current?.state);
  }
  if (type === "CANCELLING") {
    await finishCancelled(reporting);
    return reporting.runsItself.cancellation ? null : cancellationHooks;
  }
  const holder = await findHolder(context.api, run);
  if (holder === "somebody else") {
    run.log.info(`Flow run '${run.flowRun.name}' belongs to another worker by now; it is left as it is.`);
    return null;
  }
  if (type === "PENDING" && holder === "this record") {
    // The worker died before it could find out whether its claim replaced the end of another execution.
    const { state } = current;
    if (run.claim === null && state && !(await confirmClaim(context, run, state))) return null;
    if (!mayHaveBegun) {
      await scheduleAgain(context, run, "its worker died before it was started");
      return null;
    }
  }
  run.log.error(`${why} Look at the logs of the flow run and of the machine it ran on.`);
  if (context.services.onLost === "crash") return await reportCrash(reporting, why, output);
  // No poll returns a flow run that its engine is to retry. The server only changes that when a final state is left.
  if (current.empirical_policy?.retry_type === "in_process") {
    const hooks = await reportCrash(reporting, why, output);
    // Otherwise it was cancelled, or somebody else has gone on.
    if (hooks?.kind !== "crashed") return hooks;
  }
  await scheduleAgain(context, run, "its process is gone, and this worker runs with --on-lost reschedule");
  return null;
}
