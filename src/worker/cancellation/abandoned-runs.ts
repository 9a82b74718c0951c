// Ends cancelled flow runs whose worker is gone. The setting PREFECT_WORKER_ENABLE_CANCELLATION switches this on. Without
// it, servers from 3.7.2 on force such flow runs to Cancelled after 300 s.
// Source: prefect workers/base.py _cancel_run, which ends only flow runs that its own worker has claimed.
import { filterCancelling, findFlowRun } from "../../api/flow-runs.ts";
import type { FlowRun } from "../../api/wire.ts";
import { sleep, waitUnlessAborted } from "../../async/sleep.ts";
import { proposeState } from "../../run/propose-state.ts";
import { cancelledState } from "../../run/states.ts";
import type { Worker } from "../worker.ts";

/** The shortest interval, whatever the setting says, because it limits the load of the server. */
const shortestIntervalMs = 1000;

/** Looks for such flow runs until `signal` aborts. Returns at once without the setting. Never throws. */
export async function watchAbandoned(worker: Worker, signal: AbortSignal): Promise<void> {
  const { enabled, pollSeconds } = worker.options.cancellation;
  let before: ReadonlySet<string> = new Set();
  while (enabled && !signal.aborted) {
    try {
      before = await endAbandoned(worker, before, signal);
    } catch (error) {
      if (!signal.aborted) worker.log.debug({ err: error }, "The search for abandoned flow runs failed");
    }
    await sleep(Math.max(pollSeconds * 1000, shortestIntervalMs), signal);
  }
}

/**
 * Ends the abandoned flow runs that were also found by the search before, whose ids are `before`. A worker that still
 * executes one had that time to end it. Returns the ids found by this search.
 */
async function endAbandoned(worker: Worker, before: ReadonlySet<string>, signal: AbortSignal): Promise<Set<string>> {
  const { workPoolName: name, workQueueNames } = worker.options;
  const found = await filterCancelling(worker.api, { name, workQueueNames }, { signal });
  const others = found.filter(({ id }) => !worker.runs.has(id));
  const ended = worker.services.background.run(
    (closing) => Promise.all(others.filter(({ id }) => before.has(id)).map((flowRun) => end(worker, flowRun, closing))),
    (error) => worker.log.debug({ err: error }, "An abandoned flow run could not be ended"),
  );
  // The requests are repeated until the server responds, so a drain must not wait for them here.
  await waitUnlessAborted(ended, signal);
  return new Set(others.map(({ id }) => id));
}

/** Ends a flow run as Cancelled if its process was never started or runs on this machine. Leaves any other unchanged. */
async function end(worker: Worker, flowRun: FlowRun, closing: AbortSignal): Promise<void> {
  const { id, infrastructure_pid: pid, start_time: startTime } = flowRun;
  if (pid !== null) await endProcessOf(worker, flowRun, pid, closing);
  else if (startTime === null) {
    await cancel(worker, flowRun, "Flow run cancelled by worker (no infrastructure found).", closing);
    worker.log.info(`Cancelled pending flow run '${id}'`);
  }
}

/**
 * Ends the process of a cancelled flow run that another worker started, and reports Cancelled. Returns false when there is
 * no such process on this machine. Throws ApiError, and the abort reason of `closing`.
 */
export async function endProcessOf(
  worker: Worker,
  flowRun: FlowRun,
  identifier: string,
  closing: AbortSignal,
): Promise<boolean> {
  const { id, name, start_time: startTime } = flowRun;
  const handle = { poolType: worker.poolType.name, identifier, proof: { flowRunId: id } };
  const found = await worker.infrastructure.findAbandoned(handle);
  if (found === null) return false;
  await found.stop("cancel", worker.services.stop);
  worker.log.info(`Ended what another worker had left running of the cancelled flow run '${name}'.`);
  const wasPending = startTime === null;
  const message = wasPending ? "Flow run cancelled by worker while pending." : "Flow run was cancelled successfully.";
  await cancel(worker, flowRun, message, closing);
  worker.log.info(wasPending ? `Cancelled pending flow run '${id}'` : `Cancelled flow run '${name}'`);
  return true;
}

/** Reports Cancelled. It also replaces Crashed, because an engine that is ended without a reason reports a crash. */
async function cancel(worker: Worker, { id }: FlowRun, message: string, signal: AbortSignal): Promise<void> {
  const current = await findFlowRun(worker.api, id, { endless: true, signal });
  if (!current || current.state_type === "CANCELLED") return;
  await proposeState(worker.api, id, cancelledState(message), { force: true, signal });
}
