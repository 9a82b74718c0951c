// Connections that are refused, silent or lost, as the API client meets them.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createServer, type IncomingMessage, type RequestListener, request } from "node:http";
import type { LookupFunction, Socket } from "node:net";
import { describe, expect, inject, test } from "vitest";
import { UnreachableError } from "../../src/api/errors.ts";
import { inCheckout } from "../support/checkout.ts";
import { findFreePort } from "../support/free-port.ts";
import { startScriptedServer } from "../support/scripted-server.ts";
import { waitFor } from "../support/wait-for.ts";
import { countingRandom, openTestClient, rejectionOf, testAgents } from "./test-client.ts";

const fine = { body: { fine: true } };

/** A server on a port of the caller's choice, since only that can come back after it went away. */
async function listen(port: number, listener: RequestListener): Promise<AsyncDisposable & { sockets: Socket[] }> {
  const sockets: Socket[] = [];
  const server = createServer(listener).on("connection", (socket) => sockets.push(socket));
  server.listen(port, "127.0.0.1");
  await once(server, "listening");
  return {
    sockets,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
}

describe("a refused connection", () => {
  test("is final on first contact", async () => {
    const waits = countingRandom();
    const port = await findFreePort();
    using api = openTestClient(`http://127.0.0.1:${port}`, { random: waits.random });
    const error = await rejectionOf(api.request("GET", "/thing"));
    expect(error).toBeInstanceOf(UnreachableError);
    expect(error).toMatchObject({ code: "ECONNREFUSED", url: `http://127.0.0.1:${port}` });
    expect(waits.draws).toBe(0);
  });

  test("is a server that restarts once there was contact", async () => {
    const waits = countingRandom();
    await using server = await startScriptedServer({ http: { "GET /api/thing": [fine] } });
    using api = openTestClient(server.url, { random: waits.random });
    await api.request("GET", "/thing");
    await server.stop();
    const pending = api.request("GET", "/thing");
    await waitFor(() => waits.draws === 1, { timeoutMs: 5_000, what: "the first refusal", intervalMs: 5 });
    await using _restarted = await listen(Number(new URL(server.url).port), (_request, response) => {
      response.end('{"restarted":true}');
    });
    expect(await pending).toEqual({ restarted: true });
  });

  test("is a server that restarts for an endless request, because it is about a flow run of an earlier process", async () => {
    const waits = countingRandom();
    const port = await findFreePort();
    using api = openTestClient(`http://127.0.0.1:${port}`, { random: waits.random });
    const pending = api.request("GET", "/thing", { endless: true });
    await waitFor(() => waits.draws === 1, { timeoutMs: 5_000, what: "the first refusal", intervalMs: 5 });
    await using _started = await listen(port, (_request, response) => void response.end('{"started":true}'));
    expect(await pending).toEqual({ started: true });
  });
});

describe("silence", () => {
  test("a request without an answer in time is repeated", async () => {
    await using server = await startScriptedServer({ http: { "GET /api/thing": [{ hang: true }, fine] } });
    using api = openTestClient(server.url, { requestTimeoutMs: 100 });
    expect(await api.request("GET", "/thing")).toEqual({ fine: true });
    expect(server.requests).toHaveLength(2);
  });

  test("a server that never answers is an UnreachableError that tells the time", async () => {
    await using server = await startScriptedServer({ http: { "GET /api/thing": [{ hang: true, always: true }] } });
    using api = openTestClient(server.url, { requestTimeoutMs: 100, maxRetries: 0 });
    const error = await rejectionOf(api.request("GET", "/thing"));
    expect(error).toBeInstanceOf(UnreachableError);
    expect(error).toMatchObject({ code: "RESPONSE_TIMEOUT", message: `${server.url}: no answer within 0.1 s` });
    expect(server.requests).toHaveLength(1);
  });

  test("an answer that stops half way is given up after the same time", async () => {
    const port = await findFreePort();
    await using _server = await listen(port, (_request, response) => {
      response.writeHead(200, { "content-length": 100 }).write('{"half":');
    });
    using api = openTestClient(`http://127.0.0.1:${port}`, { requestTimeoutMs: 100, maxRetries: 0 });
    expect(await rejectionOf(api.request("GET", "/thing"))).toMatchObject({
      code: "RESPONSE_TIMEOUT",
      message: `http://127.0.0.1:${port}: no answer within 0.1 s`,
    });
  });

  test("an answer that comes byte by byte is given up after five times that time", async () => {
    const port = await findFreePort();
    await using _server = await listen(port, (_request, response) => {
      const dripping = setInterval(() => response.write(" "), 20);
      response.once("close", () => clearInterval(dripping));
    });
    using api = openTestClient(`http://127.0.0.1:${port}`, { requestTimeoutMs: 100, maxRetries: 0 });
    expect(await rejectionOf(api.request("GET", "/thing"))).toMatchObject({ code: "RESPONSE_TIMEOUT" });
  });

  // Elsewhere a full backlog refuses.
  test.runIf(process.platform === "linux")(
    "a connection that never comes is given up after the same time",
    async () => {
      const argv = [inCheckout("test/fixtures/programs/full_backlog.py")];
      const server = spawn(inject("python"), argv, { stdio: ["ignore", "pipe", "inherit"] });
      try {
        const [line] = (await once(server.stdout, "data")) as [Buffer];
        const url = `http://127.0.0.1:${Number(line.toString())}`;
        using api = openTestClient(url, { requestTimeoutMs: 100, maxRetries: 0 });
        const error = await rejectionOf(api.request("GET", "/thing"));
        expect(error).toMatchObject({ code: "ETIMEDOUT", message: `${url}: no connection within 0.1 s` });
      } finally {
        server.kill("SIGKILL");
      }
    },
  );

  test.runIf(process.platform === "linux")(
    "a connection that takes longer than 250 ms comes about, to a host of several addresses too",
    async () => {
      const server = spawn(inject("python"), [inCheckout("test/fixtures/programs/slow_backlog.py")], {
        stdio: ["pipe", "pipe", "inherit"],
      });
      try {
        const [line] = (await once(server.stdout, "data")) as [Buffer];
        const url = new URL(`http://two-addresses.test:${Number(line.toString())}/`);
        using agents = testAgents();
        const { agent } = await agents.route(url, "request");
        // Nothing listens at the second: a host whose other protocol leads nowhere.
        const addresses = [
          { address: "127.0.0.1", family: 4 },
          { address: "::1", family: 6 },
        ];
        const lookup: LookupFunction = (_host, _options, callback) => callback(null, addresses);
        const sent = request(url, { agent, lookup }).end();
        server.stdin.write("\n");
        const [response] = (await once(sent, "response")) as [IncomingMessage];
        expect(response.statusCode).toBe(200);
        response.destroy();
      } finally {
        server.kill("SIGKILL");
      }
    },
  );

  test("an abort ends a request that waits for its answer", async () => {
    const stop = new AbortController();
    await using server = await startScriptedServer({ http: { "GET /api/thing": [{ hang: true }] } });
    using api = openTestClient(server.url);
    const rejection = rejectionOf(api.request("GET", "/thing", { signal: stop.signal }));
    await waitFor(() => server.requests.length === 1, { timeoutMs: 5_000, what: "the request", intervalMs: 5 });
    const reason = new Error("stopped");
    stop.abort(reason);
    expect(await rejection).toBe(reason);
    expect(server.requests).toHaveLength(1);
  });
});

describe("a connection kept from an earlier request", () => {
  test("that the server resets on its second use is replaced without a wait", async () => {
    const waits = countingRandom();
    const seen: Socket[] = [];
    const port = await findFreePort();
    await using server = await listen(port, ({ socket }, response) => {
      const isReused = seen.includes(socket);
      seen.push(socket);
      if (isReused) socket.resetAndDestroy();
      else response.end("{}");
    });
    using api = openTestClient(`http://127.0.0.1:${port}`, { random: waits.random });
    await api.request("GET", "/thing");
    expect(await api.request("POST", "/thing", { body: { a: 1 } })).toEqual({});
    expect(seen[1]).toBe(seen[0]);
    expect(server.sockets).toHaveLength(2);
    expect(waits.draws).toBe(0);
  });

  test("that the server closed while it was idle is replaced without a wait", async () => {
    const waits = countingRandom();
    const port = await findFreePort();
    await using server = await listen(port, (_request, response) => {
      response.end("{}");
    });
    using api = openTestClient(`http://127.0.0.1:${port}`, { random: waits.random });
    await api.request("GET", "/thing");
    server.sockets[0]?.resetAndDestroy();
    expect(await api.request("GET", "/thing")).toEqual({});
    expect(server.sockets).toHaveLength(2);
    expect(waits.draws).toBe(0);
  });

  test("is used again, so that a poll costs no new connection", async () => {
    const port = await findFreePort();
    await using server = await listen(port, (_request, response) => {
      response.end("{}");
    });
    using api = openTestClient(`http://127.0.0.1:${port}`);
    for (let request = 0; request < 3; request++) await api.request("GET", "/thing");
    expect(server.sockets).toHaveLength(1);
  });
});

test("a new connection that breaks off before the answer is repeated after a wait", async () => {
  const waits = countingRandom();
  let requests = 0;
  const port = await findFreePort();
  await using _server = await listen(port, ({ socket }, response) => {
    if (++requests === 1) socket.resetAndDestroy();
    else response.end("{}");
  });
  using api = openTestClient(`http://127.0.0.1:${port}`, { random: waits.random });
  expect(await api.request("GET", "/thing")).toEqual({});
  expect(requests).toBe(2);
  expect(waits.draws).toBe(1);
});
