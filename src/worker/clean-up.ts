// Cleanup that the server asks for over the worker channel: a flow run stayed in Cancelling too long, so the server has
// forced it to Cancelled and wants its process gone.
// Source: prefect workers/_cleanup.py, _cleanup_handlers.py; server/worker_communication/cleanup_queue.
import { findFlowRun } from "../api/flow-runs.ts";
import { sleep } from "../async/sleep.ts";
import type { WorkerChannel } from "../sockets/worker-channel.ts";
import { cancellingTimeout, type ServerFrame } from "../sockets/worker-channel-frames.ts";
import type { Worker } from "./worker.ts";

/** However short the lease, it is not renewed more often than this. */
const shortestRenewalMs = 500;

/**
 * Does what a cleanup message asks for and tells the server: done, or for another worker to do. The server asks again
 * whenever it has heard nothing until the lease ends, so no answer of it is waited for, and `cleanedUp` remembers the flow
 * runs whose end it may not have heard of.
 */
export async function cleanUp(
  worker: Worker,
  channel: WorkerChannel,
  { sent_at, payload }: ServerFrame<"cleanup.message.v1">,
  cleanedUp: Set<string>,
  signal: AbortSignal,
): Promise<void> {
  const { message_id, reservation_token, kind, target, lease_expires_at } = payload;
  const reservation = { message_id, reservation_token };
  const release = (reason: string): void => channel.send("cleanup.release.v1", { ...reservation, reason });
  const id = target.flow_run_id;
  if (kind !== cancellingTimeout) return release("unsupported_cleanup_kind");
  const flowRun = await findFlowRun(worker.api, id, { signal });
  const ended = worker.inFlight.ended(id);
  // One that is not Cancelled has been scheduled again since: the message is not about what runs now.
  if (ended && flowRun?.state_type === "CANCELLED") {
    worker.log.info(`The server gave up waiting for the cancellation of flow run '${flowRun.name}'; it is ended.`);
    worker.inFlight.end(id, { kind: "cancel" });
    // Both times are the server's, so its clock need not agree with this machine's.
    const leaseMs = Date.parse(lease_expires_at) - Date.parse(sent_at);
    await whileRenewing(ended, leaseMs, () => channel.send("cleanup.renew.v1", reservation), signal);
    cleanedUp.add(id);
  }
  if (flowRun?.state_type !== "CANCELLED" || cleanedUp.has(id)) channel.send("cleanup.ack.v1", reservation);
  else release(target.infrastructure_pid ? "infrastructure_not_available" : "missing_infrastructure_handle");
}

/** Waits for `ended` and renews the lease each half of it, as long as there is a channel to do so. */
async function whileRenewing(
  ended: Promise<void>,
  leaseMs: number,
  renew: () => void,
  signal: AbortSignal,
): Promise<void> {
  const over = new AbortController();
  const waiting = AbortSignal.any([signal, over.signal]);
  const renewing = (async () => {
    while (!waiting.aborted) {
      await sleep(Math.max(leaseMs / 2, shortestRenewalMs), waiting);
      if (!waiting.aborted) renew();
    }
  })();
  await ended;
  over.abort();
  await renewing;
}
