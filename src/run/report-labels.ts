// Sends the labels of a flow run in a worker's hands.
import { updateFlowRunLabels } from "../api/flow-runs.ts";
import { LinkedController } from "../async/linked-controller.ts";
import { sleep } from "../async/sleep.ts";
import { workerLabels } from "../job/labels.ts";
import { reportInBackground } from "./report.ts";
import type { RunContext } from "./run-context.ts";
import type { RunRecord } from "./run-record.ts";

/** Labels wait at most for this time. */
const longestWaitMs = 500;

/** Labels that are sent at the latest when this is disposed, unless they are dropped. */
export interface WaitingLabels extends Disposable {
  send(): void;
  /** Called when the flow run is somebody else's, so that it keeps the labels of its worker. */
  drop(): void;
}

/** Sends the labels in the background. They tell other workers whose flow run it is, if this program and its disk are lost. */
export function reportLabels(context: RunContext, run: RunRecord): void {
  sendAfter(context, run, async () => true);
}

/**
 * Does the same a moment later, at the latest after half a second. A server writes one thing at a time, and the flow run
 * waits for its other requests.
 */
export function reportLabelsLater(context: RunContext, run: RunRecord): WaitingLabels {
  const turn = new AbortController();
  let isDropped = false;
  sendAfter(context, run, async (closing) => {
    using end = new LinkedController(turn.signal, closing);
    await sleep(longestWaitMs, end.signal);
    return !isDropped;
  });
  const send = (): void => turn.abort();
  const drop = (): void => {
    isDropped = true;
  };
  return { send, drop, [Symbol.dispose]: send };
}

function sendAfter(context: RunContext, run: RunRecord, wait: (closing: AbortSignal) => Promise<boolean>): void {
  const { api, identity, services } = context;
  reportInBackground(context, run, "labels", async (options) => {
    if (!(await wait(options.signal))) return;
    const labels = workerLabels(identity, run.workPool, services.instance);
    await updateFlowRunLabels(api, run.flowRun.id, labels, options);
  });
}
