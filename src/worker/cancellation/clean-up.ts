// Cleanups that the server requests over the worker channel. A flow run stayed in Cancelling too long, so the server forced
// it to Cancelled. The worker ends its process.
// Source: prefect workers/_cleanup.py, _cleanup_handlers.py; server/worker_communication/cleanup_queue.
import { findFlowRun } from "../../api/flow-runs.ts";
import type { FlowRun } from "../../api/wire.ts";
import { LinkedController } from "../../async/linked-controller.ts";
import { sleep } from "../../async/sleep.ts";
import type { WorkerChannel } from "../../sockets/worker-channel.ts";
import { cancellingTimeout, type ServerFrame } from "../../sockets/worker-channel-frames.ts";
import type { Worker } from "../worker.ts";
import { endProcessOf } from "./abandoned-runs.ts";

/** The shortest interval between two renewals, even for a short lease. */
const shortestRenewalMs = 500;

/**
 * Executes one cleanup message, then acknowledges it or releases it for another worker. It does not wait for the server's
 * reply, because the server repeats a message that is not acknowledged when its lease ends. `signal` aborts when the
 * channel has closed, and `closing` when the program closes. Throws ApiError when the flow run cannot be read.
 */
export async function cleanUp(
  worker: Worker,
  channel: WorkerChannel,
  { sent_at, payload }: ServerFrame<"cleanup.message.v1">,
  { signal, closing }: { signal: AbortSignal; closing: AbortSignal },
): Promise<void> {
  const { message_id, reservation_token, kind, target, lease_expires_at } = payload;
  const reservation = { message_id, reservation_token };
  const release = (reason: string): void => channel.send("cleanup.release.v1", { ...reservation, reason });
  const id = target.flow_run_id;
  if (kind !== cancellingTimeout) return release("unsupported_cleanup_kind");
  const flowRun = await findFlowRun(worker.api, id, { signal });
  // A flow run that is not Cancelled was scheduled again, so the message is about an earlier attempt.
  const isCurrent = flowRun?.state_type === "CANCELLED";
  if (isCurrent) {
    // Both times are from the server's clock, so a difference to this machine's clock does not matter.
    const leaseMs = Date.parse(lease_expires_at) - Date.parse(sent_at);
    const renew = (): void => channel.send("cleanup.renew.v1", reservation);
    const ended = endProgram(worker, flowRun, target.infrastructure_pid ?? null, closing);
    // Remembered, because the server repeats the message if the acknowledgement is lost.
    if (await whileRenewing(ended, leaseMs, renew, signal)) worker.runs.markCleanedUp(id);
  }
  if (!isCurrent || worker.runs.isCleanedUp(id)) channel.send("cleanup.ack.v1", reservation);
  else release(target.infrastructure_pid ? "infrastructure_not_available" : "missing_infrastructure_handle");
}

/** Ends the flow run's program, started by this worker or an earlier one. Returns false when none runs here. */
async function endProgram(
  worker: Worker,
  flowRun: FlowRun,
  identifier: string | null,
  closing: AbortSignal,
): Promise<boolean> {
  const { runs, log } = worker;
  const { id, name } = flowRun;
  if (runs.has(id)) {
    log.info(`The server gave up waiting for the cancellation of flow run '${name}'; it is ended.`);
    runs.stop(id, { kind: "cancel" });
    await runs.left(id);
    return true;
  }
  return identifier !== null && (await endProcessOf(worker, flowRun, identifier, closing));
}

/** Waits for `ended`. Renews the lease after each half of it, until `signal` aborts because the channel has closed. */
async function whileRenewing(
  ended: Promise<boolean>,
  leaseMs: number,
  renew: () => void,
  signal: AbortSignal,
): Promise<boolean> {
  using over = new LinkedController(signal);
  const done = ended.finally(() => over.abort());
  while (!over.signal.aborted) {
    await sleep(Math.max(leaseMs / 2, shortestRenewalMs), over.signal);
    if (!over.signal.aborted) renew();
  }
  return await done;
}
