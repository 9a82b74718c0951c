// Cleanup that the server asks for over the worker channel: a flow run stayed in Cancelling too long, so the server has
// forced it to Cancelled and wants its process gone.
// Source: prefect workers/_cleanup.py, _cleanup_handlers.py; server/worker_communication/cleanup_queue.
import { findFlowRun } from "../../api/flow-runs.ts";
import type { FlowRun } from "../../api/wire.ts";
import { sleep } from "../../async/sleep.ts";
import type { WorkerChannel } from "../../sockets/worker-channel.ts";
import { cancellingTimeout, type ServerFrame } from "../../sockets/worker-channel-frames.ts";
import type { Worker } from "../worker.ts";
import { endProcessOf } from "./abandoned-runs.ts";

/** However short the lease, it is not renewed more often than this. */
const shortestRenewalMs = 500;

/**
 * Does what a message asks for and tells the server: done, or for another worker to do. No answer is waited for: the
 * server asks again for what it has not heard by the end of the lease. Throws when the server cannot be asked for the run.
 */
export async function cleanUp(
  worker: Worker,
  channel: WorkerChannel,
  { sent_at, payload }: ServerFrame<"cleanup.message.v1">,
  signal: AbortSignal,
): Promise<void> {
  const { message_id, reservation_token, kind, target, lease_expires_at } = payload;
  const reservation = { message_id, reservation_token };
  const release = (reason: string): void => channel.send("cleanup.release.v1", { ...reservation, reason });
  const id = target.flow_run_id;
  if (kind !== cancellingTimeout) return release("unsupported_cleanup_kind");
  const flowRun = await findFlowRun(worker.api, id, { signal });
  // A flow run that is not Cancelled was scheduled again: the message is not about what runs now.
  const isCurrent = flowRun?.state_type === "CANCELLED";
  if (isCurrent) {
    // Both times are the server's, so its clock need not agree with this machine's.
    const leaseMs = Date.parse(lease_expires_at) - Date.parse(sent_at);
    const renew = (): void => channel.send("cleanup.renew.v1", reservation);
    const ended = endProgram(worker, flowRun, target.infrastructure_pid ?? null);
    // Remembered, because the server may not hear the answer and ask again.
    if (await whileRenewing(ended, leaseMs, renew, signal)) worker.runs.noteCleanedUp(id);
  }
  if (!isCurrent || worker.runs.isCleanedUp(id)) channel.send("cleanup.ack.v1", reservation);
  else release(target.infrastructure_pid ? "infrastructure_not_available" : "missing_infrastructure_handle");
}

/** Ends what runs here for the flow run, in this worker's hands or left by one before it. False when nothing runs here. */
async function endProgram(worker: Worker, flowRun: FlowRun, identifier: string | null): Promise<boolean> {
  const { runs, log } = worker;
  const { id, name } = flowRun;
  if (runs.has(id)) {
    log.info(`The server gave up waiting for the cancellation of flow run '${name}'; it is ended.`);
    runs.stop(id, { kind: "cancel" });
    await runs.left(id);
    return true;
  }
  return identifier !== null && (await endProcessOf(worker, flowRun, identifier));
}

/** Waits for `ended`. Renews the lease after each half of it, until `signal` aborts because the channel has closed. */
async function whileRenewing(
  ended: Promise<boolean>,
  leaseMs: number,
  renew: () => void,
  signal: AbortSignal,
): Promise<boolean> {
  const over = new AbortController();
  const done = ended.finally(() => over.abort());
  const waiting = AbortSignal.any([signal, over.signal]);
  while (!waiting.aborted) {
    await sleep(Math.max(leaseMs / 2, shortestRenewalMs), waiting);
    if (!waiting.aborted) renew();
  }
  return await done;
}
