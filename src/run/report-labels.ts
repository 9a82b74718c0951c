// Sends the labels of a flow run in a worker's hands.
import { updateFlowRunLabels } from "../api/flow-runs.ts";
import { instanceLabel, workerLabels } from "../job/labels.ts";
import { reportInBackground } from "./report.ts";
import type { RunContext } from "./run-context.ts";
import type { RunRecord } from "./run-record.ts";

/** Sends the labels in the background. They tell other workers whose flow run it is, if this program and its disk are lost. */
export function reportLabels(context: RunContext, run: RunRecord): void {
  const { api, identity, services } = context;
  const labels = workerLabels(identity, run.workPool, services.instance);
  reportInBackground(context, run, "labels", (options) => updateFlowRunLabels(api, run.flowRun.id, labels, options));
}

/**
 * Returns whether the flow run has the labels of an earlier claim. They name a worker that may live and does not have it, so new
 * ones are sent at once.
 */
export function hasOldLabels({ flowRun }: RunRecord): boolean {
  return flowRun.labels?.[instanceLabel] !== undefined;
}
