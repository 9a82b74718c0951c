// The frames of the worker channel: what is taken, what is not, and which ends are final.
import { describe, expect, test } from "vitest";
import type { Json, JsonObject } from "../../src/api/wire.ts";
import { clientFrame, isTerminal, parseServerFrame } from "../../src/sockets/worker-channel-frames.ts";
import {
  cleanupFrame,
  cleanupResultFrame,
  readyFrame,
  snapshotFrame,
  snapshotPool,
} from "../support/channel-frames.ts";
import { fuzzFrom } from "../support/fuzz.ts";

const good: [name: string, frame: JsonObject][] = [
  ["worker.ready.v1", readyFrame("c")],
  ["work_pool.snapshot.v1", snapshotFrame(2)],
  ["cleanup.message.v1", cleanupFrame("r")],
  ["cleanup.operation_result.v1", cleanupResultFrame()],
];

describe("a frame of the server is read", () => {
  test.each(good)("%s", (type, frame) => {
    expect(parseServerFrame(frame)).toMatchObject({ type, payload: frame.payload });
  });

  test.each<[what: string, frame: JsonObject]>([
    ["with fields that lictor does not know", { ...snapshotFrame(2), new_field: 1 }],
    ["with a pool of no status and a limit", snapshotFrame(2, { status: null, concurrency_limit: 3 })],
    ["with a pool without a template", snapshotFrame(2, { base_job_template: {} })],
    ["with a worker id", readyFrame("c", { worker_id: "w" })],
    ["without cleanup", readyFrame("c", { accepted_capabilities: ["work_pool_snapshot.v1", "worker_heartbeat.v1"] })],
    ["for a run without a process", cleanupFrame("r", { target: { flow_run_id: "r", infrastructure_pid: null } })],
  ])("%s", (_what, frame) => {
    expect(parseServerFrame(frame)).toEqual(frame);
  });
});

describe("a frame that breaks the protocol is not", () => {
  const without = (frame: JsonObject, name: string): JsonObject => {
    const { [name]: _, ...rest } = frame;
    return rest;
  };
  const ready = readyFrame("c").payload as JsonObject;
  const initial = { snapshot_sequence: 1, reason: "initial", work_pool: snapshotPool };
  test.each<[what: string, frame: Json]>([
    ["null", null],
    ["a number", 17],
    ["a list", [snapshotFrame(2)]],
    ["no type", without(snapshotFrame(2), "type")],
    ["an unknown type", { ...snapshotFrame(2), type: "work_pool.snapshot.v2" }],
    ["a type of every object", { ...snapshotFrame(2), type: "constructor" }],
    ["what only clients send", clientFrame("cleanup.ack.v1", { message_id: "m", reservation_token: "t" })],
    ["no time", without(snapshotFrame(2), "sent_at")],
    ["a time that is none", { ...snapshotFrame(2), sent_at: "soon" }],
    ["no payload", without(snapshotFrame(2), "payload")],
    ["a payload that is a list", { ...snapshotFrame(2), payload: [] }],
    ["a sequence of 0", snapshotFrame(0)],
    ["a sequence that is text", { ...snapshotFrame(2), payload: { ...initial, snapshot_sequence: "2" } }],
    ["a pool without a template", { ...snapshotFrame(2), payload: { ...initial, work_pool: { name: "p" } } }],
    ["a template that is a list", snapshotFrame(2, { base_job_template: [] })],
    ["a pool that is paused perhaps", snapshotFrame(2, { is_paused: "no" })],
    ["another version", readyFrame("c", { selected_channel_version: "work_pool_worker_channel.v2" })],
    ["no heartbeats accepted", readyFrame("c", { accepted_capabilities: ["work_pool_snapshot.v1"] })],
    ["an interval of 0", readyFrame("c", { effective_heartbeat_interval_seconds: 0 })],
    ["a second snapshot as the first", readyFrame("c", { initial_snapshot: { ...initial, snapshot_sequence: 2 } })],
    ["no initial snapshot", { ...readyFrame("c"), payload: without(ready, "initial_snapshot") }],
    ["a cleanup of nothing", cleanupFrame("r", { target: {} })],
    ["a cleanup without a lease", cleanupFrame("r", { lease_expires_at: null })],
    ["an empty reservation token", cleanupFrame("r", { reservation_token: "" })],
  ])("%s", (_what, frame) => {
    expect(parseServerFrame(frame)).toBeUndefined();
  });
});

test("10,000 mutated and random frames are taken or refused, whatever they are", () => {
  const fuzz = fuzzFrom(20261123);
  let taken = 0;
  for (let count = 0; count < 10_000; count++) {
    const frame = parseServerFrame(count % 4 === 0 ? fuzz.value() : fuzz.mutate(fuzz.pick(good)[1]));
    if (frame === undefined) continue;
    taken++;
    expect(good.map(([type]) => type)).toContain(frame.type);
    expect(Number.isNaN(Date.parse(frame.sent_at))).toBe(false);
  }
  expect(taken).toBeGreaterThan(100);
  expect(taken).toBeLessThan(5_000);
});

describe("the end of a channel", () => {
  test.each([
    [{ code: 1008, reason: "authentication_failed" }, true],
    [{ code: 1008, reason: "authorization_failed" }, true],
    [{ code: 1008, reason: "unsupported_version" }, true],
    [{ code: 1002, reason: "protocol_error" }, true],
    [{ code: 1011, reason: "heartbeat_persistence_failed" }, false],
    [{ code: 1011, reason: "transient_server_error" }, false],
    [{ code: 1008, reason: "something new" }, true],
    [{ code: 1008 }, true],
    [{ code: 1002 }, true],
    [{ code: 1011, reason: "something new" }, false],
    [{ code: 1012, reason: "" }, false],
    [{ code: 1006, reason: "" }, false],
    [{ status: 401 }, true],
    [{ status: 403 }, true],
    [{ status: 404 }, true],
    [{ status: 405 }, true],
    [{ status: 408 }, false],
    [{ status: 425 }, false],
    [{ status: 429 }, false],
    [{ status: 426 }, true],
    [{ status: 500 }, false],
    [{ status: 503 }, false],
    [{}, false],
  ])("%j is final: %s", (details, final) => {
    expect(isTerminal(details)).toBe(final);
  });
});
