// Worker events over a socket that fails: none is lost, none gets another id, nobody waits for them.
import type { RequestListener } from "node:http";
import { text } from "node:stream/consumers";
import { describe, expect, test } from "vitest";
import type { WebSocket } from "ws";
import { EventPublisher } from "../../src/sockets/event-publisher.ts";
import { startScriptedServer } from "../support/scripted-server.ts";
import { waitFor } from "../support/wait-for.ts";
import { openTestClient } from "./test-client.ts";
import { event, recordingLogger, socketAddress, startRawSocketServer } from "./test-socket.ts";

/** As a server has them by default. */
const limits = {
  PREFECT_SERVER_EVENTS_MAXIMUM_RELATED_RESOURCES: 100,
  PREFECT_SERVER_EVENTS_MAXIMUM_LABELS_PER_RESOURCE: 500,
  PREFECT_SERVER_EVENTS_MAXIMUM_SIZE_BYTES: 1_500_000,
};

/** A sender that runs until it is disposed, reconnecting after the shortest waits. */
function startSender(origin: string, options: { isCloud?: boolean } = {}) {
  const { log, warnings } = recordingLogger();
  const stop = new AbortController();
  const isCloud = options.isCloud ?? false;
  const api = openTestClient(origin, { maxRetries: 0 });
  const sender = new EventPublisher({
    address: socketAddress(origin),
    isCloud,
    api,
    limits,
    log,
    random: () => 0,
  });
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
      api[Symbol.dispose]();
    },
  };
}

/**
 * A server that keeps the ids of the events of each connection, and answers or does not answer a ping. It says of all of
 * them that they are stored, except of those in `lost`.
 */
async function startEventServer(
  onPing: (socket: WebSocket, connection: number, data: Buffer) => void,
  onEvent: (socket: WebSocket, id: string) => void = () => undefined,
  onPost?: (ids: string[]) => number,
) {
  const connections: string[][] = [];
  const sockets: WebSocket[] = [];
  const posts: string[][] = [];
  const lost = new Set<string>();
  const onRequest: RequestListener = async (request, response) => {
    const body = await text(request);
    if (request.url === "/api/events/filter") {
      const events = connections.flat().filter((id) => !lost.has(id));
      response.end(JSON.stringify({ events: events.map((id) => ({ id })) }));
      return;
    }
    const ids = (JSON.parse(body) as { id: string }[]).map(({ id }) => id);
    posts.push(ids);
    response.writeHead(onPost?.(ids) ?? 404).end();
  };
  const accept = (socket: WebSocket) => {
    const ids: string[] = [];
    const connection = connections.push(ids);
    sockets.push(socket);
    socket.on("message", (data) => {
      const frame = JSON.parse(data.toString()) as { type?: string; id?: string };
      if (frame.type === "auth") socket.send('{"type":"auth_success"}');
      else {
        ids.push(frame.id ?? "no id");
        onEvent(socket, frame.id ?? "no id");
      }
    });
    socket.on("ping", (data) => onPing(socket, connection, data));
  };
  const server = await startRawSocketServer(accept, { onRequest });
  return { ...server, connections, sockets, posts, lost };
}

const pong = (socket: WebSocket, _connection: number, data: Buffer) => socket.pong(data);

describe("after a reconnection", () => {
  test("events the server has not confirmed are sent again with their ids, and the new ones after them", async () => {
    const breakOffThenConfirm = (socket: WebSocket, connection: number, data: Buffer) =>
      connection === 1 ? socket.terminate() : socket.pong(data);
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

  test("sends events that are not stored yet once more, with their ids", async () => {
    await using server = await startEventServer(pong, undefined, () => 204);
    server.lost.add("b");
    await using sender = startSender(server.url);
    sender.emit("a", "b", "c");
    await sender.flush(10_000);
    expect(server.connections).toEqual([["a", "b", "c"]]);
    expect(server.posts).toEqual([["b"]]);
    expect(sender.warnings()).toEqual([]);
  });

  test("waits for two seconds at most to learn which events are stored", async () => {
    await using server = await startScriptedServer({
      sockets: { "/api/events/in": [{ play: async (socket) => void (await socket.acceptAuth()) }] },
      http: { "POST /api/events/filter": [{ hang: true }] },
    });
    await using sender = startSender(server.url);
    sender.emit("a");
    const beganAt = performance.now();
    await sender.flush(30_000);
    expect(server.requests.filter(({ method }) => method === "POST")).toHaveLength(1);
    expect(performance.now() - beganAt).toBeLessThan(5_000);
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

describe("an event upon which the server closes the connection", () => {
  /** As a real server: the ping is answered before the event is looked at, and the end has no code. */
  const closeUponBad = (socket: WebSocket, id: string) => {
    if (id.startsWith("bad")) setTimeout(() => socket.terminate(), 20);
  };

  test("is dropped with one warning that has the server's words, and those behind it arrive", async () => {
    await using server = await startEventServer(pong, closeUponBad, (ids) => (ids.includes("bad") ? 422 : 204));
    await using sender = startSender(server.url);
    sender.emit("a", "bad", "b", "c");
    await waitFor(() => server.posts.length === 5, { timeoutMs: 10_000, what: "five posts", intervalMs: 5 });
    // First all, then halves, until the bad one is alone.
    expect(server.posts).toEqual([["a", "bad", "b", "c"], ["a", "bad"], ["a"], ["bad"], ["b", "c"]]);
    sender.emit("d");
    await sender.flush(10_000);
    expect(server.connections).toEqual([["a", "bad", "b", "c"], ["d"]]);
    expect(sender.warnings()).toEqual([
      expect.stringMatching(/^The server refused the event 'prefect\.worker\.started' \(bad\), which is dropped: 422/),
    ]);
  });

  test("is dropped after three attempts where events cannot be sent by HTTP", async () => {
    await using server = await startEventServer(
      () => undefined,
      (socket, id) => id === "bad" && socket.close(1007),
    );
    await using sender = startSender(server.url);
    sender.emit("bad");
    const isDropped = () => sender.warnings().some((warning) => warning.includes("are dropped")) || undefined;
    await waitFor(isDropped, { timeoutMs: 60_000, what: "the end of the attempts", intervalMs: 20 });
    expect(server.connections.filter((ids) => ids.includes("bad"))).toHaveLength(3);
  });
});

describe("what the socket does not bring to the server", () => {
  test("goes by HTTP at the end, with its ids, when the socket is refused", async () => {
    await using server = await startScriptedServer({
      sockets: { "/api/events/in": [{ always: true, refuse: 403 }] },
      http: { "POST /api/events": [{ status: 204, always: true }] },
    });
    await using sender = startSender(server.url);
    sender.emit("a", "b");
    await sender.flush(10_000);
    const [post] = server.requests.filter(({ method }) => method === "POST");
    expect((JSON.parse(post?.body ?? "[]") as { id: string }[]).map(({ id }) => id)).toEqual(["a", "b"]);
  });

  test("goes by HTTP at the end when the server reads and confirms nothing", async () => {
    await using server = await startEventServer(
      () => undefined,
      () => undefined,
      () => 204,
    );
    await using sender = startSender(server.url);
    sender.emit("a");
    await sender.flush(10_000);
    expect(server.posts).toEqual([["a"]]);
  });

  test("goes by HTTP after a connection that ended soon after it, confirmed or not", async () => {
    await using server = await startEventServer(
      pong,
      () => undefined,
      () => 204,
    );
    await using sender = startSender(server.url);
    sender.emit("a", "b");
    await sender.flush(5_000);
    server.sockets[0]?.terminate();
    await waitFor(() => server.posts.length > 0, { timeoutMs: 10_000, what: "the repetition", intervalMs: 5 });
    expect(server.posts).toEqual([["a", "b"]]);
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
