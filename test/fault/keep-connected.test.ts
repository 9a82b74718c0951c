// The reconnect loop: comes back after every end, says so once, and leaves at once when told to.
import { describe, expect, test } from "vitest";
import { connectSocket } from "../../src/sockets/connect.ts";
import { keepConnected } from "../../src/sockets/keep-connected.ts";
import type { Socket } from "../../src/sockets/socket.ts";
import { SocketError } from "../../src/sockets/socket-error.ts";
import { type ScriptedServer, type SocketStep, startScriptedServer } from "../support/scripted-server.ts";
import { waitFor } from "../support/wait-for.ts";
import { recordingLogger, socketAddress } from "./test-socket.ts";

const startServer = (...steps: SocketStep[]) => startScriptedServer({ sockets: { "/api/events/out": steps } });

const stay: SocketStep = {
  async play(socket) {
    await socket.acceptAuth();
    await socket.closed;
  },
};

const leave: SocketStep = {
  async play(socket) {
    await socket.acceptAuth();
    socket.close(1000);
  },
};

/** Keeps a socket to the server open until `stop` aborts, with the shortest waits that are drawn: 0.5, 1, 2 … s. */
function keep(server: ScriptedServer, stop: AbortSignal, onServed = () => {}) {
  const logger = recordingLogger();
  const served: Socket[] = [];
  const ended = keepConnected(
    {
      name: "the stream",
      fallback: "flow runs are found by polling",
      open: (signal) => connectSocket(socketAddress(server.url), "/events/out", { inBand: true, signal }),
      use: async (socket, signal) => {
        served.push(socket);
        onServed();
        for await (const _ of socket.frames(signal));
      },
      log: logger.log,
      random: () => 0,
    },
    stop,
  );
  return { ended, served, ...logger };
}

const soon = { timeoutMs: 10_000, intervalMs: 5 };

test("after refusals the socket is opened in the end, with one warning and one word of the end", async () => {
  const stop = new AbortController();
  await using server = await startServer({ refuse: 503 }, { refuse: 403 }, stay);
  const kept = keep(server, stop.signal);
  await waitFor(() => kept.served.length === 1, { ...soon, what: "the socket" });
  stop.abort();
  await kept.ended;
  const [warning, ...further] = kept.warnings();
  expect(warning).toMatch(/^No connection to the stream; flow runs are found by polling\. Reason: .*503\b/);
  expect(further).toEqual([]);
  expect(kept.records.filter(({ level }) => level === 30).map(({ msg }) => msg)).toEqual(["Connected to the stream."]);
  const [first, second, third] = server.requests.map(({ atMs }) => atMs);
  // A timer may fire a little early by another clock.
  expect((second ?? 0) - (first ?? 0)).toBeGreaterThanOrEqual(490);
  expect((third ?? 0) - (second ?? 0)).toBeGreaterThanOrEqual(990);
});

test("a socket that the server closes is opened again, cleanly closed or not", async () => {
  const stop = new AbortController();
  await using server = await startServer(leave, { play: (socket) => socket.destroy() }, stay);
  const kept = keep(server, stop.signal);
  await waitFor(() => kept.served.length === 2, { ...soon, what: "the second good socket" });
  expect(server.requests).toHaveLength(3);
  expect(kept.warnings()).toHaveLength(1);
  stop.abort();
  await kept.ended;
});

test("a socket that the worker closes itself is opened again after the shortest wait, without a warning", async () => {
  const stop = new AbortController();
  await using server = await startServer({ refuse: 503 }, { refuse: 503 }, stay, stay, stay);
  const kept = keep(server, stop.signal, () => {
    if (kept.served.length < 3) throw new SocketError("the clock of this machine was set", { isOwnEnd: true });
  });
  await waitFor(() => kept.served.length === 3, { ...soon, what: "the third good socket" });
  stop.abort();
  await kept.ended;
  // The one about the refusals.
  expect(kept.warnings()).toHaveLength(1);
  const times = server.requests.slice(2).map(({ atMs }) => atMs);
  // The third failure in succession would be followed by 2 s, the fourth by 4 s.
  expect((times.at(-1) ?? 0) - (times[0] ?? 0)).toBeLessThan(2000);
});

test("a socket that opens at the first go is no news", async () => {
  const stop = new AbortController();
  await using server = await startServer(stay);
  const kept = keep(server, stop.signal);
  await waitFor(() => kept.served.length === 1, { ...soon, what: "the socket" });
  stop.abort();
  await kept.ended;
  expect(kept.records.filter(({ level }) => level > 20)).toEqual([]);
});

describe("an abort ends it at once", () => {
  const cases: [when: string, step: SocketStep, reached: (kept: ReturnType<typeof keep>) => boolean][] = [
    ["while the socket opens", { hang: true }, () => true],
    ["while the socket serves", stay, ({ served }) => served.length === 1],
    ["during the wait for the next attempt", { refuse: 503 }, ({ warnings }) => warnings().length === 1],
  ];
  test.each(cases)("%s", async (_when, step, reached) => {
    const stop = new AbortController();
    await using server = await startServer(step);
    const kept = keep(server, stop.signal);
    await waitFor(() => server.requests.length === 1 && reached(kept), { ...soon, what: "the moment to abort" });
    const abortedAt = performance.now();
    stop.abort();
    await kept.ended;
    // Less than the 500 ms of the shortest wait.
    expect(performance.now() - abortedAt).toBeLessThan(400);
    expect(server.requests).toHaveLength(1);
  });
});
