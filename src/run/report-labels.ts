// Sends the labels of a flow run in a worker's hands.
import { hasStatus } from "../api/errors.ts";
import { updateFlowRunLabels } from "../api/flow-runs.ts";
import { workerLabels } from "../job/labels.ts";
import type { RunContext } from "./run-context.ts";
import type { RunRecord } from "./run-record.ts";

/** Sends the labels in the background. They tell other workers whose flow run it is, if this program and its disk are lost. */
export function reportLabels({ api, identity, services }: RunContext, { flowRun, workPool, log }: RunRecord): void {
  const labels = workerLabels(identity, workPool, services.instance);
  void services.background.run(
    async (signal) => await updateFlowRunLabels(api, flowRun.id, labels, { endless: true, signal }),
    // 404: the flow run was deleted, or the server is older than labels (3.1).
    (error) => {
      const level = hasStatus(error, 404) ? "debug" : "warn";
      log[level]({ err: error }, "The flow run's labels could not be reported");
    },
  );
}
