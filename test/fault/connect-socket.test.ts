// Opening a socket: what is sent, and every way in which it can fail.

import { describe, expect, test } from "vitest";
import type { Authorization } from "../../src/settings/connection.ts";
import { connectSocket } from "../../src/sockets/connect.ts";
import { SocketError } from "../../src/sockets/socket-error.ts";
import { findFreePort } from "../support/free-port.ts";
import { type SocketStep, startScriptedServer } from "../support/scripted-server.ts";
import type { ScriptedSocket } from "../support/scripted-socket.ts";
import { waitFor } from "../support/wait-for.ts";
import { bearer, fixedCredentials, rejectionOf, testAgents } from "./test-client.ts";
import { socketAddress, startRawSocketServer, untilTheEnd } from "./test-socket.ts";
import { certificate, startTlsServer } from "./tls-server.ts";

const credentials = fixedCredentials(bearer("marked-secret"));

const inBand = { inBand: true, signal: untilTheEnd };

const startServer = (...steps: SocketStep[]) => startScriptedServer({ sockets: { "/api/events/in": steps } });

const acceptAuth: SocketStep = {
  async play(socket) {
    await socket.acceptAuth();
  },
};

describe("what is sent", () => {
  test.each<Authorization>([
    bearer("some-key"),
    { kind: "basic", header: "Basic dXNlcjpwYXNz", token: "user:pass", origin: "PREFECT_API_AUTH_STRING" },
    { kind: "none", header: null, token: null, origin: "nothing" },
  ])("$kind: the header in the handshake, the token in the first frame", async (authorization) => {
    const frames: unknown[] = [];
    await using server = await startServer({
      play: async (socket) => {
        frames.push(await socket.acceptAuth());
      },
    });
    using _socket = await connectSocket(
      socketAddress(server.url, { credentials: fixedCredentials(authorization) }),
      "/events/in",
      inBand,
    );
    expect(frames).toEqual([{ type: "auth", token: authorization.token }]);
    const { headers } = server.requests[0] ?? {};
    expect(headers?.authorization ?? null).toBe(authorization.header);
    expect(headers?.["sec-websocket-protocol"]).toBe("prefect");
    expect(headers?.["user-agent"]).toMatch(/^prefect\/\d/);
  });

  test("without in-band authentication there is no subprotocol and no frame", async () => {
    const received: string[] = [];
    const protocols: unknown[] = [];
    await using server = await startRawSocketServer((socket, { headers }) => {
      protocols.push(headers["sec-websocket-protocol"]);
      socket.on("message", (data) => received.push(data.toString()));
      socket.on("ping", (data) => socket.pong(data));
    });
    const address = socketAddress(server.url, { credentials });
    using socket = await connectSocket(address, "/events/in", { inBand: false, signal: untilTheEnd });
    socket.send({ first: true });
    await socket.ping(untilTheEnd);
    expect(protocols).toEqual([undefined]);
    expect(received).toEqual(['{"first":true}']);
  });

  test("a server that does not take the subprotocol, as before 3.6.14, is opened without in-band authentication", async () => {
    const received: string[] = [];
    await using server = await startRawSocketServer(
      (socket) => {
        socket.on("message", (data) => received.push(data.toString()));
        socket.on("ping", (data) => socket.pong(data));
      },
      { takesSubprotocol: false },
    );
    using socket = await connectSocket(socketAddress(server.url, { credentials }), "/events/in", inBand);
    socket.send({ first: true });
    await socket.ping(untilTheEnd);
    expect(received).toEqual(['{"first":true}']);
  });

  test("the URL keeps the path of the workspace and never holds the token", async () => {
    const urls: unknown[] = [];
    await using server = await startRawSocketServer((socket, { url }) => {
      urls.push(url);
      socket.send('{"type":"auth_success"}');
    });
    const apiUrl = `${server.url}/api/accounts/a/workspaces/w`;
    using _socket = await connectSocket(socketAddress("", { apiUrl, credentials }), "/events/out", inBand);
    expect(urls).toEqual(["/api/accounts/a/workspaces/w/events/out"]);
  });

  test("https becomes wss, with the trust of the HTTP client", async () => {
    await using server = await startTlsServer();
    using agents = testAgents({ ca: certificate, rejectUnauthorized: true });
    const error = await rejectionOf(connectSocket(socketAddress(server.origin, { agents }), "/events/in", inBand));
    // The server knows no WebSockets: that it was asked for one, over TLS, is what counts.
    expect(error).toMatchObject({ name: "SocketError", details: { status: 200 } });
    expect(server.requests[0]?.headers.upgrade).toBe("websocket");
  });

  test("custom headers are added, and may replace Authorization, but not those of the handshake", async () => {
    await using server = await startServer(acceptAuth);
    const customHeaders = {
      "X-Team": "mine",
      "X-Name": "Zoë €",
      authorization: "mine",
      "user-agent": "mine",
      Host: "mine",
    };
    const address = socketAddress(server.url, { credentials, customHeaders });
    using _socket = await connectSocket(address, "/events/in", inBand);
    const sent = Object.entries(server.requests[0]?.headers ?? {}).filter(([, value]) => value === "mine");
    expect(sent.map(([name]) => name).sort()).toEqual(["authorization", "x-team"]);
    // As UTF-8, which Node reads as Latin-1.
    expect(Buffer.from(String(server.requests[0]?.headers["x-name"]), "latin1").toString()).toBe("Zoë €");
  });
});

describe("what fails", () => {
  test("a token that is refused is a SocketError with code and reason", async () => {
    await using server = await startServer({ play: (socket) => socket.close(1008, "Invalid token") });
    const address = socketAddress(server.url, { credentials });
    const error = (await rejectionOf(connectSocket(address, "/events/in", inBand))) as SocketError;
    expect(error).toBeInstanceOf(SocketError);
    expect(error.details).toEqual({ code: 1008, reason: "Invalid token" });
    expect(error.message).toContain("closed with 1008 Invalid token");
    expect(error.message).not.toContain("marked-secret");
  });

  test.each([401, 403, 404, 500, 502])(
    "an upgrade that is answered with %i is a SocketError with it",
    async (status) => {
      await using server = await startServer({ refuse: status });
      const error = await rejectionOf(connectSocket(socketAddress(server.url), "/events/in", inBand));
      expect(error).toBeInstanceOf(SocketError);
      expect(error).toMatchObject({ details: { status }, message: expect.stringContaining(String(status)) });
    },
  );

  test("a refused connection is a SocketError", async () => {
    const origin = `http://127.0.0.1:${await findFreePort()}`;
    const error = await rejectionOf(connectSocket(socketAddress(origin), "/events/in", inBand));
    expect(error).toBeInstanceOf(SocketError);
    expect((error as Error).message).toContain("ECONNREFUSED");
  });

  test.each<[string, (socket: ScriptedSocket) => void]>([
    ["a clean close", (socket) => socket.close(1000)],
    ["a connection that breaks off", (socket) => socket.destroy()],
    ["another type of frame", (socket) => socket.send({ type: "event" })],
    ["a frame that is not JSON", (socket) => socket.send("<html>")],
    ["a number", (socket) => socket.send("17")],
    ["null", (socket) => socket.send("null")],
  ])("%s instead of auth_success is a SocketError", async (_what, play) => {
    await using server = await startServer({ play });
    const error = await rejectionOf(connectSocket(socketAddress(server.url), "/events/in", inBand));
    expect(error).toBeInstanceOf(SocketError);
  });

  test.each(["before the upgrade", "after the upgrade"])("silence %s is given up after the deadline", async (when) => {
    let closed: Promise<unknown> = Promise.resolve();
    const silent: SocketStep = {
      play(socket) {
        closed = socket.closed;
      },
    };
    await using server = await startServer(when === "before the upgrade" ? { hang: true } : silent);
    const options = { ...inBand, timeoutMs: 200 };
    const error = await rejectionOf(connectSocket(socketAddress(server.url), "/events/in", options));
    expect(error).toBeInstanceOf(SocketError);
    expect((error as Error).message).toMatch(/^ws:.*\/api\/events\/in: no answer within 0.2 s$/);
    // The connection is not left open.
    await closed;
  });

  test("an abort ends it at once with its reason", async () => {
    const stop = new AbortController();
    await using server = await startServer({ hang: true });
    const opening = rejectionOf(
      connectSocket(socketAddress(server.url), "/events/in", { ...inBand, signal: stop.signal }),
    );
    await waitFor(() => server.requests.length === 1, { timeoutMs: 5_000, what: "the upgrade", intervalMs: 5 });
    const reason = new Error("stopped");
    stop.abort(reason);
    expect(await opening).toBe(reason);
  });
});
