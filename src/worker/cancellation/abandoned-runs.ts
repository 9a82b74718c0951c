// Cancelled flow runs that no worker has in its hands any more, since the one that claimed them is gone: looked for where
// the setting PREFECT_WORKER_ENABLE_CANCELLATION asks for it. Without it servers from 3.7.2 on give them up after 300 s.
// Source: prefect workers/base.py _cancel_run, which knows only what its own worker has claimed.
import { filterCancelling, findFlowRun } from "../../api/flow-runs.ts";
import type { FlowRun } from "../../api/wire.ts";
import { sleep } from "../../async/sleep.ts";
import { proposeState } from "../../run/propose-state.ts";
import { cancelledState } from "../../run/states.ts";
import type { Worker } from "../worker.ts";

/** Whatever the setting says, the server gets that rest. */
const shortestIntervalMs = 1000;

/** Looks for them every so often until `signal` aborts, which is at once without the setting. Never throws. */
export async function watchAbandoned(worker: Worker, signal: AbortSignal): Promise<void> {
  const { enabled, pollSeconds } = worker.options.cancellation;
  let before: ReadonlySet<string> = new Set();
  while (enabled && !signal.aborted) {
    try {
      before = await endAbandoned(worker, before, signal);
    } catch (error) {
      if (!signal.aborted) worker.log.debug({ err: error }, "abandoned flow runs could not be looked for");
    }
    await sleep(Math.max(pollSeconds * 1000, shortestIntervalMs), signal);
  }
}

/**
 * Ends those that were there at the look `before` too: whoever has one in his hands has got that time to end it. Gives
 * the ids of this look.
 */
async function endAbandoned(worker: Worker, before: ReadonlySet<string>, signal: AbortSignal): Promise<Set<string>> {
  const { workPoolName: name, workQueueNames } = worker.options;
  const found = await filterCancelling(worker.api, { name, workQueueNames }, { signal });
  const others = found.filter(({ id }) => !worker.runs.has(id));
  await Promise.all(others.filter(({ id }) => before.has(id)).map((flowRun) => end(worker, flowRun)));
  return new Set(others.map(({ id }) => id));
}

/** One whose process was never started, or runs on this machine, ends as Cancelled; of any other nothing is known. */
async function end(worker: Worker, flowRun: FlowRun): Promise<void> {
  const { id, infrastructure_pid: pid, start_time: startTime } = flowRun;
  if (pid !== null) await endProcessOf(worker, flowRun, pid);
  else if (startTime === null) {
    await cancel(worker, flowRun, "Flow run cancelled by worker (no infrastructure found).");
    worker.log.info(`Cancelled pending flow run '${id}'`);
  }
}

/** Ends what another worker has left running of a cancelled flow run; false when it is not to be found from here. */
export async function endProcessOf(worker: Worker, flowRun: FlowRun, identifier: string): Promise<boolean> {
  const { id, name, start_time: startTime } = flowRun;
  const handle = { poolType: worker.poolType.name, identifier, proof: { flowRunId: id } };
  const found = await worker.infrastructure.adopt(handle);
  if (found === null) return false;
  await found.stop("cancel", worker.services.stop.leave);
  worker.log.info(`Ended what another worker had left running of the cancelled flow run '${name}'.`);
  const wasPending = startTime === null;
  const message = wasPending ? "Flow run cancelled by worker while pending." : "Flow run was cancelled successfully.";
  await cancel(worker, flowRun, message);
  worker.log.info(wasPending ? `Cancelled pending flow run '${id}'` : `Cancelled flow run '${name}'`);
  return true;
}

/** An engine that nobody could tell why it was ended has reported a crash, whatever the state was: that is replaced. */
async function cancel(worker: Worker, { id }: FlowRun, message: string): Promise<void> {
  const current = await findFlowRun(worker.api, id, { endless: true });
  if (!current || current.state_type === "CANCELLED") return;
  await proposeState(worker.api, id, cancelledState(message), { force: true });
}
