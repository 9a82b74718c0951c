// An open socket: its frames in order, how it ends, and how the reader learns of it.
import { describe, expect, test } from "vitest";
import type { Json } from "../../src/api/wire.ts";
import { connectSocket } from "../../src/sockets/connect.ts";
import type { Socket } from "../../src/sockets/socket.ts";
import { SocketError } from "../../src/sockets/socket-error.ts";
import { startScriptedServer } from "../support/scripted-server.ts";
import type { ScriptedSocket } from "../support/scripted-socket.ts";
import { rejectionOf } from "./test-client.ts";
import { socketAddress, startRawSocketServer, untilTheEnd } from "./test-socket.ts";

/** Opens a socket to a server that plays this once it has accepted the authentication. */
async function openSocket(
  play: (socket: ScriptedSocket) => void | Promise<void>,
): Promise<AsyncDisposable & { socket: Socket }> {
  const afterAuth = async (socket: ScriptedSocket) => {
    await socket.acceptAuth();
    await play(socket);
  };
  const server = await startScriptedServer({ sockets: { "/api/events/out": [{ play: afterAuth }] } });
  const socket = await connectSocket(socketAddress(server.url), "/events/out", { inBand: true, signal: untilTheEnd });
  return {
    socket,
    async [Symbol.asyncDispose]() {
      socket[Symbol.dispose]();
      await server[Symbol.asyncDispose]();
      expect(server.errors).toEqual([]);
    },
  };
}

/** Reads to the end, and gives what came and what was thrown. */
async function readAll(socket: Socket): Promise<{ frames: Json[]; error: unknown }> {
  const frames: Json[] = [];
  try {
    for await (const frame of socket.frames(untilTheEnd)) frames.push(frame);
    return { frames, error: undefined };
  } catch (error) {
    return { frames, error };
  }
}

describe("frames", () => {
  test("come in order, of whatever JSON type, and a clean close is their end", async () => {
    const sent = [{ n: 1 }, 2, null, "three", [4], false];
    await using open = await openSocket((socket) => {
      for (const frame of sent) socket.send(JSON.stringify(frame));
      socket.close(1000);
    });
    expect(await readAll(open.socket)).toEqual({ frames: sent, error: undefined });
  });

  test("before a close with an error are still read, then it is thrown", async () => {
    await using open = await openSocket((socket) => {
      socket.send({ n: 1 });
      socket.close(1011, "transient_server_error");
    });
    const { frames, error } = await readAll(open.socket);
    expect(frames).toEqual([{ n: 1 }]);
    expect(error).toMatchObject({ name: "SocketError", details: { code: 1011 } });
    expect((error as Error).message).toContain("transient_server_error");
  });

  test("that are not JSON end the socket", async () => {
    await using open = await openSocket(async (socket) => {
      socket.send({ n: 1 });
      socket.send("<html>");
      await socket.closed;
    });
    const { frames, error } = await readAll(open.socket);
    expect(frames).toEqual([{ n: 1 }]);
    expect(error).toBeInstanceOf(SocketError);
    expect((error as Error).message).toContain("not JSON");
  });

  test("of binary rubbish end the socket", async () => {
    await using server = await startRawSocketServer((socket) => {
      socket.send('{"type":"auth_success"}');
      socket.send(Buffer.from([0, 0xff, 0xfe, 1]));
    });
    using socket = await connectSocket(socketAddress(server.url), "/events/out", { inBand: true, signal: untilTheEnd });
    expect((await readAll(socket)).error).toBeInstanceOf(SocketError);
  });

  test("larger than any that Prefect sends end the socket", async () => {
    await using open = await openSocket((socket) => {
      socket.send(JSON.stringify("x".repeat(8 * 1024 * 1024)));
    });
    expect((await readAll(open.socket)).error).toBeInstanceOf(SocketError);
  });

  test("that do not come end with the abort of the reader", async () => {
    const stop = new AbortController();
    await using open = await openSocket(() => undefined);
    const reading = open.socket.frames(stop.signal).next();
    stop.abort();
    expect(await reading).toEqual({ value: undefined, done: true });
  });
});

test("a connection that breaks off is a SocketError for the reader", async () => {
  await using open = await openSocket((socket) => socket.destroy());
  expect((await readAll(open.socket)).error).toMatchObject({ name: "SocketError", details: { code: 1006 } });
});

describe("a confirmation", () => {
  test("comes after everything sent before it was read", async () => {
    const received: string[] = [];
    await using server = await startRawSocketServer((socket) => {
      socket.send('{"type":"auth_success"}');
      socket.on("message", (data) => received.push(data.toString()));
      socket.on("ping", (data) => socket.pong(data));
    });
    using socket = await connectSocket(socketAddress(server.url), "/events/in", { inBand: true, signal: untilTheEnd });
    for (const n of [1, 2, 3]) socket.send({ n });
    await socket.ping(untilTheEnd);
    expect(received.slice(1)).toEqual(['{"n":1}', '{"n":2}', '{"n":3}']);
  });

  test("that cannot come any more is a SocketError", async () => {
    await using server = await startRawSocketServer((socket) => {
      socket.send('{"type":"auth_success"}');
      socket.on("ping", () => socket.terminate());
    });
    using socket = await connectSocket(socketAddress(server.url), "/events/in", { inBand: true, signal: untilTheEnd });
    expect(await rejectionOf(socket.ping(untilTheEnd))).toBeInstanceOf(SocketError);
    expect(await rejectionOf(socket.ping(untilTheEnd))).toBeInstanceOf(SocketError);
  });
});

test("disposing closes the connection as a client that has finished", async () => {
  const codes: Promise<number>[] = [];
  const open = await openSocket((socket) => {
    codes.push(socket.closed.then(({ code }) => code));
  });
  open.socket[Symbol.dispose]();
  expect(await codes[0]).toBe(1000);
  await open[Symbol.asyncDispose]();
});
