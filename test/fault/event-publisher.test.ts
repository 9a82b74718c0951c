// Worker events over a socket that fails: none is lost, none gets another id, nobody waits for them.
import { describe, expect, test } from "vitest";
import type { WebSocket } from "ws";
import type { PrefectEvent } from "../../src/api/wire.ts";
import { EventPublisher } from "../../src/sockets/event-publisher.ts";
import { startScriptedServer } from "../support/scripted-server.ts";
import { waitFor } from "../support/wait-for.ts";
import { recordingLogger, socketAddress, startRawSocketServer } from "./test-socket.ts";

function event(id: string): PrefectEvent {
  return {
    id,
    occurred: "2026-01-01T00:00:00Z",
    event: "prefect.worker.started",
    resource: { "prefect.resource.id": "prefect.worker.process.w" },
    related: [],
    payload: {},
    follows: null,
  };
}

/** A sender that runs until it is disposed, reconnecting after the shortest waits. */
function startSender(origin: string, options: { isCloud?: boolean } = {}) {
  const { log, warnings } = recordingLogger();
  const stop = new AbortController();
  const isCloud = options.isCloud ?? false;
  const sender = new EventPublisher({ address: socketAddress(origin), isCloud, log, random: () => 0 });
  const ended = sender.run(stop.signal);
  return {
    emit: (...ids: string[]) => {
      for (const id of ids) sender.emit(event(id));
    },
    flush: (timeoutMs: number) => sender.flush(AbortSignal.timeout(timeoutMs)),
    warnings,
    async [Symbol.asyncDispose]() {
      stop.abort();
      await ended;
    },
  };
}

/** A server that keeps the ids of the events of each connection, and answers or does not answer a ping. */
async function startEventServer(onPing: (socket: WebSocket, connection: number) => void) {
  const connections: string[][] = [];
  const sockets: WebSocket[] = [];
  const server = await startRawSocketServer((socket) => {
    const ids: string[] = [];
    const connection = connections.push(ids);
    sockets.push(socket);
    socket.on("message", (data) => {
      const frame = JSON.parse(data.toString()) as { type?: string; id?: string };
      if (frame.type === "auth") socket.send('{"type":"auth_success"}');
      else ids.push(frame.id ?? "no id");
    });
    socket.on("ping", () => onPing(socket, connection));
  });
  return { ...server, connections, sockets };
}

const pong = (socket: WebSocket) => socket.pong();

describe("after a reconnection", () => {
  test("events the server has not confirmed are sent again with their ids, and the new ones after them", async () => {
    const breakOffThenConfirm = (socket: WebSocket, connection: number) =>
      connection === 1 ? socket.terminate() : socket.pong();
    await using server = await startEventServer(breakOffThenConfirm);
    await using sender = startSender(server.url);
    sender.emit("a", "b");
    await waitFor(() => server.connections[0]?.length === 2, { timeoutMs: 5_000, what: "two events", intervalMs: 5 });
    sender.emit("c");
    await sender.flush(10_000);
    expect(server.connections).toEqual([
      ["a", "b"],
      ["a", "b", "c"],
    ]);
  });

  test("events the server has confirmed are not sent again", async () => {
    await using server = await startEventServer(pong);
    await using sender = startSender(server.url);
    sender.emit("a", "b");
    await sender.flush(5_000);
    server.sockets[0]?.terminate();
    sender.emit("c");
    await sender.flush(10_000);
    expect(server.connections.flat()).toEqual(["a", "b", "c"]);
  });
});

describe("a flush", () => {
  test("ends when the server has read everything, long before its deadline", async () => {
    await using server = await startEventServer(pong);
    await using sender = startSender(server.url);
    sender.emit("a");
    const beganAt = performance.now();
    await sender.flush(30_000);
    expect(performance.now() - beganAt).toBeLessThan(5_000);
    expect(server.connections).toEqual([["a"]]);
  });

  test("ends at its deadline when the server reads and never confirms", async () => {
    await using server = await startEventServer(() => undefined);
    await using sender = startSender(server.url);
    sender.emit("a");
    const beganAt = performance.now();
    await sender.flush(300);
    expect(performance.now() - beganAt).toBeGreaterThanOrEqual(290);
    expect(performance.now() - beganAt).toBeLessThan(2_000);
    expect(server.connections).toEqual([["a"]]);
  });

  test("ends at its deadline when the server is silent from the upgrade on", async () => {
    await using server = await startScriptedServer({ sockets: { "/api/events/in": [{ hang: true }] } });
    await using sender = startSender(server.url);
    sender.emit("a");
    const beganAt = performance.now();
    await sender.flush(300);
    expect(performance.now() - beganAt).toBeLessThan(2_000);
  });

  test("without events is over at once, server or no server", async () => {
    await using server = await startScriptedServer({ sockets: { "/api/events/in": [{ hang: true }] } });
    await using sender = startSender(server.url);
    const beganAt = performance.now();
    await sender.flush(30_000);
    expect(performance.now() - beganAt).toBeLessThan(1_000);
  });
});

test("of more events than are kept the oldest are dropped, with one warning", async () => {
  await using server = await startEventServer(pong);
  // Emitted in one go, before the sender can have sent any.
  await using sender = startSender(server.url);
  sender.emit(...Array.from({ length: 1002 }, (_, index) => `event-${index}`));
  await sender.flush(10_000);
  const ids = server.connections.flat();
  expect([ids.length, ids[0], ids.at(-1)]).toEqual([1000, "event-2", "event-1001"]);
  expect(sender.warnings()).toEqual(["Too many worker events are waiting; the oldest are dropped."]);
});

test("Cloud is sent events without the in-band authentication", async () => {
  await using server = await startEventServer(pong);
  await using sender = startSender(server.url, { isCloud: true });
  sender.emit("a");
  await sender.flush(5_000);
  expect(server.connections).toEqual([["a"]]);
  expect(server.sockets[0]?.protocol).toBe("");
});
