// Sockets behind a proxy with a read timeout: they learn to stay open, and the log says once what is the matter.
import { expect, test } from "vitest";
import { connectSocket, type SocketAddress } from "../../src/sockets/connect.ts";
import { keepConnected } from "../../src/sockets/keep-connected.ts";
import { startIdleProxy } from "../support/idle-proxy.ts";
import { waitFor } from "../support/wait-for.ts";
import { recordingLogger, socketAddress, startRawSocketServer, untilTheEnd } from "./test-socket.ts";

/** Accepts everybody, answers pings, and says nothing else. */
function startQuietServer() {
  return startRawSocketServer((socket) => {
    socket.on("message", () => socket.send('{"type":"auth_success"}'));
    socket.on("ping", (data) => socket.pong(data));
  });
}

/** Keeps sockets to these routes open until disposed. */
function keepOpen(address: SocketAddress, routes: string[]) {
  const { log, records, warnings } = recordingLogger();
  const stop = new AbortController();
  const ended = routes.map((route) =>
    keepConnected(
      {
        name: route,
        fallback: "flow runs are found by polling",
        open: (signal) => connectSocket(address, route, { inBand: true, signal }),
        use: async (socket, signal) => {
          for await (const _ of socket.frames(signal));
        },
        log,
        random: () => 0,
      },
      stop.signal,
    ),
  );
  return {
    records,
    warnings,
    async [Symbol.asyncDispose]() {
      stop.abort();
      await Promise.all(ended);
    },
  };
}

test("sockets behind a proxy that ends idle ones learn to stay open, with one warning that names the cause", async () => {
  const idleMs = 2_500;
  await using server = await startQuietServer();
  await using proxy = await startIdleProxy(server.url, idleMs);
  await using kept = keepOpen(socketAddress(proxy.url), ["/events/in", "/events/out"]);
  const open = () => proxy.connections.filter(({ endedMs }) => endedMs === undefined);
  await waitFor(
    () => {
      const lasting = open().filter(({ beganMs }) => performance.now() - beganMs > 2 * idleMs);
      return lasting.length === 2 || undefined;
    },
    { timeoutMs: 30_000, what: "two connections that outlast the timeout twice" },
  );
  expect(proxy.connections.length).toBeLessThanOrEqual(6);
  const [warning, ...further] = kept.warnings();
  expect(further).toEqual([]);
  expect(warning).toMatch(
    /^The connection to \/events\/(in|out) does not last \(.*closed with 1006 after 2\.\d s, 2 times in \d(\.\d)? s\); meanwhile flow runs are found by polling\. A proxy on the way probably ends connections after about 2\.\d s without data: raise its read timeout above 30 s \(nginx: proxy_read_timeout\)\. Until then lictor sends a ping every 2 s\.$/,
  );
});

test("a socket that ends again and again for no known reason is one warning with its count", async () => {
  let connections = 0;
  await using server = await startRawSocketServer((socket) => {
    connections++;
    socket.on("message", () => {
      socket.send('{"type":"auth_success"}');
      socket.close(1011, "internal error");
    });
  });
  await using kept = keepOpen(socketAddress(server.url), ["/events/out"]);
  await waitFor(() => connections === 4, { timeoutMs: 20_000, what: "the fourth connection" });
  expect(kept.warnings()).toEqual([
    expect.stringMatching(
      /^The connection to \/events\/out does not last \(.*closed with 1011 internal error, 2 times in .* s\); meanwhile flow runs are found by polling\.$/,
    ),
  ]);
});

test("one connection that breaks off and is open again at the next attempt is no warning", async () => {
  let connections = 0;
  await using server = await startRawSocketServer((socket) => {
    connections++;
    socket.on("message", () => {
      socket.send('{"type":"auth_success"}');
      if (connections === 1) socket.terminate();
    });
  });
  await using kept = keepOpen(socketAddress(server.url), ["/events/out"]);
  const opened = () => kept.records.filter(({ msg }) => msg.startsWith("Connected")).length;
  await waitFor(() => opened() === 2, { timeoutMs: 20_000, what: "the second connection" });
  expect(kept.records.filter(({ level }) => level > 20)).toEqual([]);
});

test("sockets that lictor closes itself, on servers that do not answer the close, teach nothing", async () => {
  await using server = await startDeafServer();
  const address = socketAddress(server.url);
  for (let count = 0; count < 3; count++) {
    const socket = await connectSocket(address, "/events/out", { inBand: true, signal: untilTheEnd });
    // Longer than what is taken for a server that crashes at once.
    const over = AbortSignal.timeout(1_000);
    for await (const _ of socket.frames(over));
    const ended = server.closed(count + 1);
    socket[Symbol.dispose]();
    await ended;
  }
  expect(address.keepAlive.pingMs).toBe(20_000);
});

/** Accepts everybody and never answers a close; `closed` resolves when so many connections have ended. */
async function startDeafServer() {
  let ends = 0;
  const server = await startRawSocketServer((socket, { socket: connection }) => {
    socket.on("message", () => {
      socket.send('{"type":"auth_success"}');
      // From here on nothing is read, a close included.
      setImmediate(() => connection.removeAllListeners("data").resume());
    });
    connection.on("close", () => ends++);
  });
  const closed = (count: number) => waitFor(() => ends >= count, { timeoutMs: 5_000, what: `${count} ends` });
  return { ...server, closed };
}
