// Frames of the worker channel as a server sends them.
// Source: prefect client/schemas/worker_channel.py; taken from a server 3.9.1.
import type { JsonObject } from "../../src/api/wire.ts";

const sentAt = "2026-11-23T12:00:00.000000Z";
const frame = (type: string, payload: JsonObject): JsonObject => ({
  type,
  id: "00000000-0000-7000-8000-0000000000f0",
  sent_at: sentAt,
  payload,
});

/** A work pool with a template. */
export const snapshotPool = {
  id: "00000000-0000-4000-8000-000000000001",
  created: sentAt,
  updated: sentAt,
  name: "p",
  description: null,
  type: "process",
  base_job_template: { job_configuration: { command: "{{ command }}" }, variables: { properties: { command: {} } } },
  is_paused: false,
  concurrency_limit: null,
  status: "READY",
  default_queue_id: "00000000-0000-4000-8000-000000000002",
  storage_configuration: {},
};

/** `worker.ready.v1` with the initial snapshot. */
export function readyFrame(consumerId: string, changes: JsonObject = {}): JsonObject {
  return frame("worker.ready.v1", {
    consumer_id: consumerId,
    worker_id: null,
    selected_channel_version: "work_pool_worker_channel.v1",
    effective_heartbeat_interval_seconds: 30,
    accepted_capabilities: ["worker_heartbeat.v1", "work_pool_snapshot.v1", "cleanup_delivery.v1"],
    rejected_capabilities: [],
    effective_max_cleanup_concurrency: 1,
    resolved_work_queues: [{ id: snapshotPool.default_queue_id, name: "default" }],
    initial_snapshot: { snapshot_sequence: 1, reason: "initial", work_pool: snapshotPool },
    ...changes,
  });
}

/** `work_pool.snapshot.v1`; `changes` are of the work pool. */
export function snapshotFrame(sequence: number, changes: JsonObject = {}): JsonObject {
  return frame("work_pool.snapshot.v1", {
    snapshot_sequence: sequence,
    reason: "work_pool_updated",
    work_pool: { ...snapshotPool, ...changes },
  });
}

/** `cleanup.message.v1` with a lease of a second. */
export function cleanupFrame(flowRunId: string, changes: JsonObject = {}): JsonObject {
  return frame("cleanup.message.v1", {
    message_id: "00000000-0000-5000-8000-0000000000aa",
    kind: "cancelling_timeout_teardown.v1",
    reservation_token: "token",
    lease_expires_at: "2026-11-23T12:00:01.000000Z",
    delivery_count: 1,
    work_queue_id: snapshotPool.default_queue_id,
    target: { flow_run_id: flowRunId, infrastructure_pid: "4711" },
    data: {},
    ...changes,
  });
}

/** `cleanup.operation_result.v1` of an accepted acknowledgement. */
export function cleanupResultFrame(): JsonObject {
  return frame("cleanup.operation_result.v1", {
    request_frame_id: "00000000-0000-7000-8000-0000000000f1",
    message_id: "00000000-0000-5000-8000-0000000000aa",
    operation: "ack",
    status: "accepted",
    lease_expires_at: null,
    reason: null,
    detail: null,
  });
}
