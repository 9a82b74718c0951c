// The labels of a job, and the labels that the worker adds to a flow run.
import type { WorkPool } from "../api/wire.ts";
import { prefectVersion } from "../version.ts";
import type { Attribution } from "./flow-run-environment.ts";

/** Returns the default labels of a job. The job's own override them. Source: prefect workers/base.py _base_*_labels. */
export function jobLabels(workPool: WorkPool, attribution: Attribution): Record<string, string> {
  const { flowRun, flow, deployment, workerName } = attribution;
  return {
    "prefect.io/flow-run-id": flowRun.id,
    "prefect.io/flow-run-name": flowRun.name,
    "prefect.io/version": prefectVersion,
    "prefect.io/work-pool-name": workPool.name,
    "prefect.io/work-pool-id": workPool.id,
    "prefect.io/worker-name": workerName,
    ...(flow && { "prefect.io/flow-id": flow.id, "prefect.io/flow-name": flow.name }),
    ...(deployment && { "prefect.io/deployment-id": deployment.id, "prefect.io/deployment-name": deployment.name }),
    ...(deployment?.updated && { "prefect.io/deployment-updated": pythonIsoFormat(deployment.updated) }),
  };
}

/** The labels that name the lictor process and the host that a flow run belongs to. */
export const instanceLabel = "lictor.instance";
export const hostLabel = "lictor.host";
/** The label that names the worker. Source: prefect workers/base.py _give_worker_labels_to_flow_run. */
export const workerNameLabel = "prefect.worker.name";

/**
 * Returns the body of `PATCH /flow_runs/{id}/labels`. The labels `lictor.…` tell other workers whose flow run it is.
 * Source: prefect workers/base.py _give_worker_labels_to_flow_run.
 */
export function workerLabels(
  worker: { name: string; type: string },
  workPool: WorkPool,
  { instance, host }: { instance: string | null; host: string },
): Record<string, string> {
  return {
    ...(instance !== null && { [instanceLabel]: instance, [hostLabel]: host }),
    [workerNameLabel]: worker.name,
    "prefect.worker.type": worker.type,
    "prefect.work-pool.name": workPool.name,
    "prefect.work-pool.id": workPool.id,
  };
}

/** Formats a time of the API like Python's `isoformat` in UTC, with six digits of a second or none if they are zero. */
function pythonIsoFormat(time: string): string {
  const second = new Date(time).toISOString().slice(0, "2026-01-01T00:00:00".length);
  // The digits are taken from the text, because a Date has no microseconds.
  const fraction = (/\.(\d+)/.exec(time)?.[1] ?? "").padEnd(6, "0").slice(0, 6);
  return `${second}${fraction === "000000" ? "" : `.${fraction}`}+00:00`;
}
