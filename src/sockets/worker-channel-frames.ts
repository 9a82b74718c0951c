// The frames of the worker channel, and the meaning of its close reasons.
// Source: prefect client/schemas/worker_channel.py, workers/_worker_channel/_transport.py.
import { randomUUID } from "node:crypto";
import { type Check, count, listOf, object, oneOf, optional, string, text, time } from "../api/json-check.ts";
import { workPoolShape } from "../api/shapes.ts";
import type { Json, JsonObject, WorkerMetadata, WorkPool } from "../api/wire.ts";
import type { Retry } from "./keep-connected.ts";
import { closeCode } from "./socket.ts";
import type { SocketError } from "./socket-error.ts";

/** The only version of the channel so far. */
export const channelVersion = "work_pool_worker_channel.v1";
/** The capabilities that every channel has. */
export const requiredCapabilities = ["worker_heartbeat.v1", "work_pool_snapshot.v1"] as const;
/** Optional. With it, the server asks the worker to end the processes of flow runs that it has given up. */
export const cleanupCapability = "cleanup_delivery.v1";
/** The kind of cleanup for a flow run that stayed in Cancelling too long. The server has forced it to Cancelled. */
export const cancellingTimeout = "cancelling_timeout_teardown.v1";

/** The first frame of a worker on the channel. It counts as a heartbeat. */
export type WorkerHello = {
  /** Identifies this process. The server's response repeats it. */
  consumer_id: string;
  worker_name: string;
  worker_type: string;
  heartbeat_interval_seconds: number;
  supported_channel_versions: string[];
  requested_capabilities: string[];
  /** An empty list means all work queues. */
  work_queue_names: string[];
  handled_cleanup_kinds: string[];
  max_cleanup_concurrency: number;
  create_pool_if_not_found: boolean;
  default_base_job_template: JsonObject;
  /** Only in the first hello of the process, else null. */
  worker_metadata: WorkerMetadata | null;
};

type Reservation = { message_id: string; reservation_token: string };

/** The payloads of the worker's frames, by type. */
export interface ClientPayloads {
  "worker.hello.v1": WorkerHello;
  "worker.heartbeat.v1": { consumer_id: string; worker_name: string; heartbeat_interval_seconds: number };
  "cleanup.renew.v1": Reservation;
  "cleanup.ack.v1": Reservation;
  "cleanup.release.v1": Reservation & { reason: string };
}

/** The work pool as it is now. The sequence starts at 1 with each connection. */
export interface WorkPoolSnapshot {
  snapshot_sequence: number;
  reason: string;
  work_pool: WorkPool;
}

/** The payloads of the server's frames, by type, with the fields that lictor uses. */
export interface ServerPayloads {
  "worker.ready.v1": {
    consumer_id: string;
    /** Only Cloud has one. */
    worker_id?: string | null;
    effective_heartbeat_interval_seconds: number;
    accepted_capabilities: string[];
    initial_snapshot: WorkPoolSnapshot;
  };
  "work_pool.snapshot.v1": WorkPoolSnapshot;
  "cleanup.message.v1": Reservation & {
    kind: string;
    lease_expires_at: string;
    target: { flow_run_id: string; infrastructure_pid?: string | null };
  };
  "cleanup.operation_result.v1": { message_id: string; operation: string; status: string; reason?: string | null };
}

/** A frame of the server. `sent_at` is from the server's clock. */
export type ServerFrame<Type extends keyof ServerPayloads = keyof ServerPayloads> = {
  [Each in Type]: { type: Each; sent_at: string; payload: ServerPayloads[Each] };
}[Type];

/** Returns a frame to send. */
export function clientFrame<Type extends keyof ClientPayloads>(type: Type, payload: ClientPayloads[Type]): JsonObject {
  return { type, id: randomUUID(), sent_at: new Date().toISOString(), payload };
}

const reservation = { message_id: text, reservation_token: text };

const payloads: { [Type in keyof ServerPayloads]: Check } = {
  "worker.ready.v1": object({
    consumer_id: text,
    worker_id: optional(text),
    selected_channel_version: oneOf(channelVersion),
    effective_heartbeat_interval_seconds: count,
    accepted_capabilities: (value) =>
      listOf(text)(value) && requiredCapabilities.every((each) => (value as string[]).includes(each)),
    initial_snapshot: object({ snapshot_sequence: oneOf(1), reason: oneOf("initial"), work_pool: workPoolShape }),
  }),
  "work_pool.snapshot.v1": object({ snapshot_sequence: count, reason: text, work_pool: workPoolShape }),
  "cleanup.message.v1": object({
    ...reservation,
    kind: text,
    lease_expires_at: time,
    target: object({ flow_run_id: text, infrastructure_pid: optional(string) }),
  }),
  "cleanup.operation_result.v1": object({ message_id: text, operation: text, status: text, reason: optional(string) }),
};

/** Parses a frame of the server. Returns undefined for a frame that violates the protocol. Ignores unknown fields. */
export function parseServerFrame(frame: Json): ServerFrame | undefined {
  const type = (frame as JsonObject | null)?.type;
  if (typeof type !== "string" || !Object.hasOwn(payloads, type)) return undefined;
  const isGood = object({ sent_at: time, payload: payloads[type as keyof ServerPayloads] })(frame);
  return isGood ? (frame as unknown as ServerFrame) : undefined;
}

/** The close reasons of the server. After a terminal one, the server would close the next channel too. */
const closeReasons: ReadonlyMap<string, "terminal" | "retry"> = new Map([
  ["authentication_failed", "terminal"],
  // The work pool or a work queue does not exist, or the worker lacks the permission to create the work pool.
  ["authorization_failed", "terminal"],
  ["unsupported_version", "terminal"],
  ["protocol_error", "terminal"],
  ["heartbeat_persistence_failed", "retry"],
  ["transient_server_error", "retry"],
]);

/** Statuses below 500 that are worth another attempt: timeout, too early, too many requests. */
const transientStatuses: ReadonlySet<number> = new Set([408, 425, 429]);

/**
 * Returns true if the server would end the next channel in the same way. Servers before 3.7.2 do not have this route
 * and refuse the upgrade with 403.
 */
export function isTerminal({ status, code, reason = "" }: SocketError["details"]): boolean {
  if (status !== undefined) return status < 500 && !transientStatuses.has(status);
  const effect = closeReasons.get(reason);
  if (effect !== undefined) return effect === "terminal";
  return code === closeCode.policyViolation || code === closeCode.protocolError;
}

/**
 * Returns when to try again after a terminal end. Without an open channel so far the result is "never", because the
 * server has no worker channel. After an open channel it is "later": perhaps an ingress was reloaded, or the work pool
 * is created again.
 */
export function retryAfterTerminalEnd(wasOpen: boolean): Retry {
  return wasOpen ? "later" : "never";
}
