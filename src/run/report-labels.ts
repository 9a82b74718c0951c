// Sends the labels of a flow run in a worker's hands.
import { updateFlowRunLabels } from "../api/flow-runs.ts";
import { workerLabels } from "../job/labels.ts";
import { reportInBackground } from "./report.ts";
import type { RunContext } from "./run-context.ts";
import type { RunRecord } from "./run-record.ts";

/** Sends the labels in the background. They tell other workers whose flow run it is, if this program and its disk are lost. */
export function reportLabels(context: RunContext, run: RunRecord): void {
  const { api, identity, services } = context;
  const labels = workerLabels(identity, run.workPool, services.instance);
  reportInBackground(context, run, "labels", (options) => updateFlowRunLabels(api, run.flowRun.id, labels, options));
}
