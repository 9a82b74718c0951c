// Sockets whose other side sends anything: authentication answers, frames, bytes, closes.
import { getEventListeners, setMaxListeners } from "node:events";
import { expect, test } from "vitest";
import type { WebSocket } from "ws";
import { connectSocket } from "../../src/sockets/connect.ts";
import { SocketError } from "../../src/sockets/socket-error.ts";
import { goodEvent } from "../support/api-answers.ts";
import { type Fuzz, fuzzFrom } from "../support/fuzz.ts";
import { waitFor } from "../support/wait-for.ts";
import { socketAddress, startRawSocketServer } from "./test-socket.ts";

const FRAMES = 10_000;
const framesPerSocket = 40;
const huge = Buffer.alloc(8 * 1024 * 1024 + 1, 0x20);

/** Sends something: mostly a frame of JSON that is well or ill, now and then what ends the connection. */
function sendAnything(fuzz: Fuzz, socket: WebSocket): void {
  const dice = fuzz.random();
  if (dice < 0.95) socket.send(JSON.stringify(fuzz.random() < 0.2 ? fuzz.value() : fuzz.mutate(goodEvent)));
  else if (dice < 0.96) socket.send(JSON.stringify(goodEvent).slice(0, fuzz.below(200)));
  else if (dice < 0.97) socket.send(Buffer.from(Array.from({ length: fuzz.below(40) }, () => fuzz.below(256))));
  else if (dice < 0.9702) socket.send(huge);
  else if (dice < 0.98) socket.ping(Buffer.alloc(fuzz.below(125)));
  else if (dice < 0.99) socket.pong();
  else if (dice < 0.995)
    socket.close(fuzz.pick([1000, 1001, 1002, 1003, 1008, 1011, 3000, 4999]), fuzz.pick(["", "two\nlines"]));
  else socket.terminate();
}

test("10,000 frames are frames or the end of a socket, and leave nothing behind", async () => {
  const fuzz = fuzzFrom(20261123);
  let sent = 0;
  const open = new Set<WebSocket>();
  await using server = await startRawSocketServer((socket) => {
    open.add(socket);
    socket.on("close", () => open.delete(socket));
    // One in ten does not even authenticate.
    if (fuzz.random() < 0.9) socket.send('{"type":"auth_success"}');
    for (let count = 0; count < framesPerSocket && socket.readyState === socket.OPEN; count++, sent++) {
      sendAnything(fuzz, socket);
    }
    socket.close(1000);
  });
  const over = new AbortController();
  setMaxListeners(0, over.signal);
  const outcomes = new Map<string, number>();
  const note = (outcome: string): void => void outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
  const connectAll = async (): Promise<void> => {
    while (sent < FRAMES) {
      try {
        using socket = await connectSocket(socketAddress(server.url), "/events/out", {
          inBand: true,
          signal: over.signal,
        });
        for await (const _frame of socket.frames(over.signal)) note("frame");
        note("clean end");
      } catch (error) {
        expect(error).toBeInstanceOf(SocketError);
        expect((error as Error).message).not.toContain("\n");
        note("SocketError");
      }
    }
  };
  await Promise.all(Array.from({ length: 8 }, connectAll));
  expect([...outcomes.keys()].sort()).toEqual(["SocketError", "clean end", "frame"]);
  expect(outcomes.get("frame")).toBeGreaterThan(1_000);
  expect(getEventListeners(over.signal, "abort")).toEqual([]);
  await waitFor(() => open.size === 0, { timeoutMs: 10_000, what: "all connections to be closed" });
});
