// The worker channel when the server does what a healthy one does not: which ends are final, which frames count.
import { describe, expect, test } from "vitest";
import { Credentials } from "../../src/api/credentials.ts";
import { openWorkerChannel } from "../../src/sockets/worker-channel.ts";
import type { WorkerHello } from "../../src/sockets/worker-channel-frames.ts";
import { readyFrame, snapshotFrame } from "../support/channel-frames.ts";
import type { SocketStep } from "../support/scripted-server.ts";
import type { ScriptedSocket } from "../support/scripted-socket.ts";
import { waitFor } from "../support/wait-for.ts";
import { acceptHello, integrations, runChannel, startChannelServer } from "./channel-worker.ts";
import { bearer, rejectionOf } from "./test-client.ts";
import { socketAddress, untilTheEnd } from "./test-socket.ts";

const soon = { timeoutMs: 10_000, intervalMs: 5 };

const stay: SocketStep = {
  async play(socket) {
    await acceptHello(socket);
    await socket.closed;
  },
};

const afterReady = (act: (socket: ScriptedSocket) => void): SocketStep => ({
  async play(socket) {
    await acceptHello(socket);
    act(socket);
    await socket.closed;
  },
});

const insteadOfReady = (act: (socket: ScriptedSocket) => void): SocketStep => ({
  async play(socket) {
    await socket.acceptAuth();
    await socket.next();
    act(socket);
  },
});

test("the hello says who the worker is and what it takes, heartbeats come at the server's interval", async () => {
  let hello: WorkerHello | undefined;
  const beats: unknown[] = [];
  await using server = await startChannelServer([
    {
      async play(socket) {
        hello = await acceptHello(socket, { effective_heartbeat_interval_seconds: 1, worker_id: "the-id" });
        for (let count = 0; count < 2; count++) beats.push(await socket.next());
      },
    },
  ]);
  await using channel = runChannel(server);
  await waitFor(() => beats.length === 2, { ...soon, what: "two heartbeats" });
  expect(hello).toMatchObject({
    worker_name: "w",
    worker_type: "process",
    heartbeat_interval_seconds: 30,
    work_queue_names: ["a", "b"],
    handled_cleanup_kinds: ["cancelling_timeout_teardown.v1"],
    create_pool_if_not_found: true,
    worker_metadata: { integrations },
  });
  const payload = { consumer_id: hello?.consumer_id, worker_name: "w", heartbeat_interval_seconds: 1 };
  expect(beats).toMatchObject([
    { type: "worker.heartbeat.v1", payload },
    { type: "worker.heartbeat.v1", payload },
  ]);
  expect(channel.worker.identity.id()).toBe("the-id");
});

test("what the worker has to offer is told once, not again after a reconnection", async () => {
  const told: unknown[] = [];
  await using server = await startChannelServer([
    {
      always: true,
      async play(socket) {
        told.push((await acceptHello(socket)).worker_metadata);
        if (told.length < 2) socket.destroy();
      },
    },
  ]);
  await using _channel = runChannel(server);
  await waitFor(() => told.length === 2, { ...soon, what: "the second hello" });
  expect(told).toEqual([{ integrations }, null]);
});

describe("the channel is opened again", () => {
  test.concurrent.each<[after: string, step: SocketStep]>([
    ["a refusal with 503", { refuse: 503 }],
    ["a connection that breaks off during the set-up", { play: (socket) => socket.destroy() }],
    [
      "transient_server_error instead of ready",
      insteadOfReady((socket) => socket.close(1011, "transient_server_error")),
    ],
    ["heartbeat_persistence_failed", afterReady((socket) => socket.close(1011, "heartbeat_persistence_failed"))],
    ["an unknown reason with 1011", afterReady((socket) => socket.close(1011, "who knows"))],
    ["a restart of the server", afterReady((socket) => socket.close(1012))],
    ["a clean close", afterReady((socket) => socket.close(1000))],
    ["a connection that breaks off", afterReady((socket) => socket.destroy())],
  ])("after %s, and nobody is bothered", async (_after, step) => {
    await using server = await startChannelServer([step, stay]);
    await using channel = runChannel(server);
    const again = () => server.requests.length === 2 && channel.worker.sockets.channelHealthy;
    await waitFor(again, { ...soon, what: "the second connection" });
    expect(channel.records.filter(({ level }) => level > 20)).toEqual([]);
    expect(server.errors).toEqual([]);
  });
});

describe("a channel that was open is tried again, but only after minutes", () => {
  const breakOff = afterReady((socket) => socket.destroy());
  test.concurrent.each<[after: string, steps: SocketStep[]]>([
    ["a refusal with 404, as while an ingress is reloaded", [breakOff, { refuse: 404 }]],
    ["a refusal with 403", [breakOff, { refuse: 403 }]],
    ["protocol_error", [afterReady((socket) => socket.close(1002, "protocol_error"))]],
    [
      "authorization_failed, as when the work pool is deleted",
      [afterReady((s) => s.close(1008, "authorization_failed"))],
    ],
  ])("after %s", async (_after, steps) => {
    await using server = await startChannelServer([...steps, stay]);
    const laterMs = 4_000;
    await using channel = runChannel(server, {}, { laterMs });
    const again = () => server.requests.length === steps.length + 1 && channel.worker.sockets.channelHealthy;
    await waitFor(again, { ...soon, what: "the connection after the refusal" });
    const [refused, last] = server.requests.slice(-2).map(({ atMs }) => atMs);
    // Half of the wait is random, and `random` returns 0. Any other wait up to here would be 1 s at most.
    expect((last ?? 0) - (refused ?? 0)).toBeGreaterThan(laterMs / 2 - 50);
    expect(channel.records.filter(({ level }) => level > 20)).toEqual([]);
  });
});

test.concurrent.each([408, 429])(
  "a refusal with %i is never final, not even of a channel that was never open",
  async (status) => {
    await using server = await startChannelServer([{ refuse: status }, stay]);
    await using channel = runChannel(server);
    await waitFor(() => channel.worker.sockets.channelHealthy, { ...soon, what: "the channel" });
    expect(server.requests).toHaveLength(2);
  },
);

describe("the channel is given up", () => {
  test.concurrent.each<[after: string, step: SocketStep]>([
    ["a refusal with 401", { refuse: 401 }],
    ["a refusal with 403, as of a server without the route", { refuse: 403 }],
    ["a refusal with 404", { refuse: 404 }],
    ["authentication_failed", { play: (socket) => socket.close(1008, "authentication_failed") }],
    ["authorization_failed instead of ready", insteadOfReady((socket) => socket.close(1008, "authorization_failed"))],
    ["unsupported_version", insteadOfReady((socket) => socket.close(1008, "unsupported_version"))],
    ["protocol_error instead of ready", insteadOfReady((socket) => socket.close(1002, "protocol_error"))],
  ])("after %s, and nobody is bothered", async (_after, step) => {
    await using server = await startChannelServer([step]);
    await using channel = runChannel(server);
    await channel.ended;
    expect(channel.worker.sockets.channelHealthy).toBe(false);
    expect(channel.records.filter(({ level }) => level > 20)).toEqual([]);
    expect(server.requests).toHaveLength(1);
  });
});

describe("the channel is closed", () => {
  const wrongFrames: [what: string, frame: unknown][] = [
    ["a malformed frame", { ...snapshotFrame(2), payload: { snapshot_sequence: 2 } }],
    ["a frame of an unknown type", { ...snapshotFrame(2), type: "work_pool.greeting.v1" }],
    ["a second ready", readyFrame("c")],
    ["no object", 17],
  ];
  test.concurrent.each<[what: string, step: (closed: (end: unknown) => void) => SocketStep]>([
    ...wrongFrames.map(([what, frame]): [string, (closed: (end: unknown) => void) => SocketStep] => [
      `${what} after ready`,
      (closed) => ({
        async play(socket) {
          await acceptHello(socket);
          socket.send(frame);
          closed(await socket.closed);
        },
      }),
    ]),
    [
      "ready for another consumer",
      (closed) => ({
        async play(socket) {
          await acceptHello(socket, { consumer_id: "00000000-0000-4000-8000-00000000000f" });
          closed(await socket.closed);
        },
      }),
    ],
    [
      "a snapshot instead of ready",
      (closed) => ({
        async play(socket) {
          await socket.acceptAuth();
          socket.send(snapshotFrame(1));
          closed(await socket.closed);
        },
      }),
    ],
  ])("with protocol_error after %s", async (_what, step) => {
    let end: unknown;
    await using server = await startChannelServer([
      step((closed) => {
        end = closed;
      }),
    ]);
    await using _channel = runChannel(server);
    await waitFor(() => end, { ...soon, what: "the close" });
    expect(end).toEqual({ code: 1002, reason: "protocol_error" });
  });

  test("after what is not JSON", async () => {
    let isClosed = false;
    await using server = await startChannelServer([
      {
        async play(socket) {
          await acceptHello(socket);
          socket.send("<html>");
          await socket.closed;
          isClosed = true;
        },
      },
    ]);
    await using _channel = runChannel(server);
    await waitFor(() => isClosed, { ...soon, what: "the end" });
  });
});

test("a refusal of credentials that have been replaced since is not final", async () => {
  const refuse: SocketStep = {
    async play(socket) {
      await socket.next();
      socket.close(1008, "authentication_failed");
    },
  };
  await using server = await startChannelServer([refuse, stay]);
  const credentials = new Credentials({ authorization: bearer("old"), fallback: null }, () => ({
    authorization: bearer("new"),
    fallback: null,
  }));
  await using channel = runChannel(server, { credentials });
  await waitFor(() => channel.worker.sockets.channelHealthy, { ...soon, what: "the second connection" });
});

test("a server that is silent after the hello is left in time", async () => {
  await using server = await startChannelServer([
    {
      async play(socket) {
        await socket.acceptAuth();
        await socket.closed;
      },
    },
  ]);
  const opening = openWorkerChannel(socketAddress(server.url), "p", {} as WorkerHello, untilTheEnd, 300);
  expect(await rejectionOf(opening)).toMatchObject({ message: "no answer to worker.hello.v1 in time" });
});
