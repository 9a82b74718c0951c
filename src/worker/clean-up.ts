// Cleanup that the server asks for over the worker channel: a flow run stayed in Cancelling too long, so the server has
// forced it to Cancelled and wants its process gone.
// Source: prefect workers/_cleanup.py, _cleanup_handlers.py; server/worker_communication/cleanup_queue.
import { findFlowRun } from "../api/flow-runs.ts";
import type { FlowRun } from "../api/wire.ts";
import { sleep } from "../async/sleep.ts";
import type { WorkerChannel } from "../sockets/worker-channel.ts";
import { cancellingTimeout, type ServerFrame } from "../sockets/worker-channel-frames.ts";
import { endProcessOf } from "./abandoned-runs.ts";
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
    const { message_id, reservation_token, kind, target, lease_expires_at } = payload;
    const reservation = { message_id, reservation_token };
    const release = (reason: string): void => channel.send("cleanup.release.v1", { ...reservation, reason });
    const id = target.flow_run_id;
    if (kind !== cancellingTimeout) return release("unsupported_cleanup_kind");
    const flowRun = await findFlowRun(this.worker.api, id, { signal });
    // One that is not Cancelled has been scheduled again since: the message is not about what runs now.
    const isCurrent = flowRun?.state_type === "CANCELLED";
    if (isCurrent) {
      // Both times are the server's, so its clock need not agree with this machine's.
      const leaseMs = Date.parse(lease_expires_at) - Date.parse(sent_at);
      const renew = (): void => channel.send("cleanup.renew.v1", reservation);
      const ended = this.#end(flowRun, target.infrastructure_pid ?? null);
      if (await whileRenewing(ended, leaseMs, renew, signal)) this.#ended.add(id);
    }
    if (!isCurrent || this.#ended.has(id)) channel.send("cleanup.ack.v1", reservation);
    else release(target.infrastructure_pid ? "infrastructure_not_available" : "missing_infrastructure_handle");
  }

  /** Ends what runs here for the flow run, in this worker's hands or left by one before it; false when nothing does. */
  async #end(flowRun: FlowRun, identifier: string | null): Promise<boolean> {
    const { inFlight, log } = this.worker;
    const { id, name } = flowRun;
    if (inFlight.has(id)) {
      log.info(`The server gave up waiting for the cancellation of flow run '${name}'; it is ended.`);
      inFlight.end(id, { kind: "cancel" });
      await inFlight.ended(id);
      return true;
    }
    return identifier !== null && (await endProcessOf(this.worker, flowRun, identifier));
  }
}

/** Waits for `ended` and renews the lease each half of it, until `signal` aborts for want of a channel to do so. */
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
