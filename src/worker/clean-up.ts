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

/** The cleanup of one worker. */
export class CleanUp {
  /** Flow runs ended here of whose end the server may not have heard: few, since a worker misses few cancellations. */
  readonly #ended = new Set<string>();

  constructor(private readonly worker: Worker) {}

  /**
   * Does what a message asks for and tells the server: done, or for another worker to do. No answer is waited for: what the
   * server has not heard by the end of the lease, it asks for again. Throws when the server cannot be asked for the run.
   */
  async run(
    channel: WorkerChannel,
    { sent_at, payload }: ServerFrame<"cleanup.message.v1">,
    signal: AbortSignal,
  ): Promise<void> {
    const { inFlight, api, log } = this.worker;
    const { message_id, reservation_token, kind, target, lease_expires_at } = payload;
    const reservation = { message_id, reservation_token };
    const release = (reason: string): void => channel.send("cleanup.release.v1", { ...reservation, reason });
    const id = target.flow_run_id;
    if (kind !== cancellingTimeout) return release("unsupported_cleanup_kind");
    const flowRun = await findFlowRun(api, id, { signal });
    // One that is not Cancelled has been scheduled again since: the message is not about what runs now.
    const isCurrent = flowRun?.state_type === "CANCELLED";
    if (isCurrent && inFlight.has(id)) {
      log.info(`The server gave up waiting for the cancellation of flow run '${flowRun.name}'; it is ended.`);
      inFlight.end(id, { kind: "cancel" });
      // Both times are the server's, so its clock need not agree with this machine's.
      const leaseMs = Date.parse(lease_expires_at) - Date.parse(sent_at);
      await whileRenewing(inFlight.ended(id), leaseMs, () => channel.send("cleanup.renew.v1", reservation), signal);
      this.#ended.add(id);
    }
    if (!isCurrent || this.#ended.has(id)) channel.send("cleanup.ack.v1", reservation);
    else release(target.infrastructure_pid ? "infrastructure_not_available" : "missing_infrastructure_handle");
  }
}

/** Waits for `ended` and renews the lease each half of it, until `signal` aborts for want of a channel to do so. */
async function whileRenewing(
  ended: Promise<void>,
  leaseMs: number,
  renew: () => void,
  signal: AbortSignal,
): Promise<void> {
  const over = new AbortController();
  const done = ended.finally(() => over.abort());
  const waiting = AbortSignal.any([signal, over.signal]);
  while (!waiting.aborted) {
    await sleep(Math.max(leaseMs / 2, shortestRenewalMs), waiting);
    if (!waiting.aborted) renew();
  }
  await done;
}
