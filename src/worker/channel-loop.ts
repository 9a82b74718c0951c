// Keeps the worker channel open. An open channel carries the heartbeats and every change of the work pool, so the worker
// does not use REST for them. Without the channel the worker uses REST.
// Source: prefect workers/_worker_channel/_sync.py, _protocol.py; server/utilities/worker_channel.py.
import { randomUUID } from "node:crypto";
import type { Credentials } from "../api/credentials.ts";
import type { WorkerMetadata } from "../api/wire.ts";
import { runTogether } from "../async/run-together.ts";
import { sleep } from "../async/sleep.ts";
import type { SocketAddress } from "../sockets/connect.ts";
import { keepConnected } from "../sockets/keep-connected.ts";
import { SocketError } from "../sockets/socket-error.ts";
import { openWorkerChannel, type WorkerChannel } from "../sockets/worker-channel.ts";
import {
  cancellingTimeout,
  channelVersion,
  cleanupCapability,
  isTerminal,
  requiredCapabilities,
  retryAfterTerminalEnd,
  type WorkerHello,
} from "../sockets/worker-channel-frames.ts";
import { cleanUp } from "./cancellation/clean-up.ts";
import { adoptPool } from "./sync-loop.ts";
import type { Worker } from "./worker.ts";

/** A cleanup only ends a process, so no cleanup has to wait for another one. */
const maxCleanups = 100;
/** The wait after a refusal by a server that has offered the channel before. It may be an ingress that reloads. */
const refusedRetryMs = 300_000;

/**
 * Keeps the channel open until `signal` aborts or the server does not offer it (servers before 3.7.2). An unreachable
 * server is tried again, also at the start. Never throws.
 */
export async function keepChannel(
  worker: Worker,
  address: SocketAddress,
  signal: AbortSignal,
  { laterMs = refusedRetryMs } = {},
): Promise<void> {
  const { log, options } = worker;
  const consumerId = randomUUID();
  let used = address.credentials.current;
  await keepConnected(
    {
      name: "the worker channel",
      fallback: null,
      open: async (opening) => {
        used = address.credentials.current;
        try {
          const hello = toHello(worker, consumerId, await worker.unsentMetadata());
          const channel = await openWorkerChannel(address, options.workPoolName, hello, opening);
          worker.sockets.isMetadataSent = true;
          return channel;
        } catch (error) {
          worker.sockets.channelTried.wake("connected");
          throw error;
        }
      },
      use: (channel, serving) => serve(worker, channel, serving),
      retry: (error, wasOpen) =>
        error instanceof SocketError && isFinal(error.details, used, address.credentials)
          ? retryAfterTerminalEnd(wasOpen)
          : "soon",
      laterMs,
      log,
      random: worker.services.random,
    },
    signal,
  );
}

/** A refused credential may have been replaced meanwhile, or may be about to be. Then the channel is tried again. */
function isFinal(end: SocketError["details"], used: Credentials["current"], credentials: Credentials): boolean {
  const isOfCredentials = end.status === 401 || end.reason === "authentication_failed";
  return isTerminal(end) && used === credentials.current && !(isOfCredentials && credentials.mayRotate);
}

function toHello(worker: Worker, consumerId: string, metadata: WorkerMetadata | null): WorkerHello {
  const { name, heartbeatSeconds, workQueueNames, createPoolIfNotFound } = worker.options;
  return {
    consumer_id: consumerId,
    worker_name: name,
    worker_type: worker.poolType.name,
    heartbeat_interval_seconds: Math.max(1, heartbeatSeconds),
    supported_channel_versions: [channelVersion],
    requested_capabilities: [...requiredCapabilities, cleanupCapability],
    work_queue_names: [...workQueueNames].sort(),
    handled_cleanup_kinds: [cancellingTimeout],
    max_cleanup_concurrency: maxCleanups,
    create_pool_if_not_found: createPoolIfNotFound,
    default_base_job_template: worker.defaultTemplate,
    worker_metadata: metadata,
  };
}

async function serve(worker: Worker, channel: WorkerChannel, signal: AbortSignal): Promise<void> {
  const { worker_id, initial_snapshot } = channel.ready;
  if (worker_id) worker.api.attribution.workerId = worker_id;
  adoptPool(worker, initial_snapshot.work_pool);
  worker.sockets.channelHealthy = true;
  worker.sockets.channelTried.wake("connected");
  worker.outage.retryNow();
  try {
    await runTogether(signal, [
      (beating) => sendHeartbeats(worker, channel, beating),
      (reading) => readFrames(worker, channel, reading),
    ]);
  } finally {
    worker.sockets.channelHealthy = false;
  }
}

/** Sends heartbeats until `signal` aborts. The hello counts as the first one. */
async function sendHeartbeats(worker: Worker, channel: WorkerChannel, signal: AbortSignal): Promise<void> {
  const { consumer_id, effective_heartbeat_interval_seconds: seconds } = channel.ready;
  while (!signal.aborted) {
    await sleep(seconds * 1000, signal);
    const beat = { consumer_id, worker_name: worker.options.name, heartbeat_interval_seconds: seconds };
    if (!signal.aborted) channel.send("worker.heartbeat.v1", beat);
  }
}

/** Handles the server's frames. Throws SocketError when the server closes the channel. */
async function readFrames(worker: Worker, channel: WorkerChannel, signal: AbortSignal): Promise<void> {
  let applied = channel.ready.initial_snapshot.snapshot_sequence;
  for await (const frame of channel.frames(signal)) {
    if (frame.type === "cleanup.message.v1") {
      void worker.services.background.run(
        (closing) => cleanUp(worker, channel, frame, { signal, closing }),
        (error) => worker.log.debug({ err: error }, "A cleanup failed. The server will request it again."),
      );
    } else if (frame.type === "cleanup.operation_result.v1") {
      worker.log.debug({ ...frame.payload }, "reply to a cleanup");
    } else if (frame.payload.snapshot_sequence > applied) {
      applied = frame.payload.snapshot_sequence;
      adoptPool(worker, frame.payload.work_pool);
      // The work pool may have been resumed, or its limit raised.
      worker.polling.wake.wake("pool");
    }
  }
  if (!signal.aborted) throw new SocketError("closed by the server");
}
