// One connection of the worker channel: opening, hello, and typed frames.
// Source: prefect workers/_worker_channel/_protocol.py, server/api/workers.py.
import type { Json } from "../api/wire.ts";
import { timeoutSignal } from "../async/clock.ts";
import { LinkedController } from "../async/linked-controller.ts";
import { connectSocket, type SocketAddress } from "./connect.ts";
import { closeCode, type Socket } from "./socket.ts";
import { SocketError } from "./socket-error.ts";
import {
  type ClientPayloads,
  clientFrame,
  parseServerFrame,
  type ServerFrame,
  type ServerPayloads,
  type WorkerHello,
} from "./worker-channel-frames.ts";

/** The time limit for authentication, hello and ready together. */
const setUpMs = 10_000;

/** An open channel. Disposing closes it. */
export interface WorkerChannel extends Disposable {
  /** The server's response to the hello. */
  readonly ready: ServerPayloads["worker.ready.v1"];
  /** Sends a frame. Does nothing if the channel has closed. */
  send<Type extends keyof ClientPayloads>(type: Type, payload: ClientPayloads[Type]): void;
  /**
   * Yields the frames in order until `signal` aborts or the channel ends. Throws SocketError unless it ended cleanly. A
   * frame that violates the protocol ends the channel.
   */
  frames(signal: AbortSignal): AsyncGenerator<LaterFrame>;
}

/** The frames that may follow `ready`. */
type LaterFrame = ServerFrame<Exclude<keyof ServerPayloads, "worker.ready.v1">>;

/**
 * Opens the channel of a work pool, sends hello and waits for ready. Throws SocketError, or the abort reason of
 * `signal`.
 */
export async function openWorkerChannel(
  address: SocketAddress,
  workPoolName: string,
  hello: WorkerHello,
  signal: AbortSignal,
  timeoutMs = setUpMs,
): Promise<WorkerChannel> {
  const deadline = timeoutSignal(timeoutMs);
  using end = new LinkedController(signal, deadline);
  const route = `/work_pools/${encodeURIComponent(workPoolName)}/workers/connect`;
  const socket = await connectSocket(address, route, { inBand: true, signal: end.signal, timeoutMs });
  try {
    socket.send(clientFrame("worker.hello.v1", hello));
    const { value, done } = await socket.frames(end.signal).next();
    if (done) throw new SocketError(`no answer to worker.hello.v1${deadline.aborted ? " in time" : ""}`);
    const frame = parseServerFrame(value);
    if (frame?.type !== "worker.ready.v1" || frame.payload.consumer_id !== hello.consumer_id) {
      throw violation(socket, value);
    }
    return toChannel(socket, frame.payload);
  } catch (error) {
    socket[Symbol.dispose]();
    throw error;
  }
}

function toChannel(socket: Socket, ready: WorkerChannel["ready"]): WorkerChannel {
  return {
    ready,
    send: (type, payload) => socket.send(clientFrame(type, payload)),
    async *frames(signal) {
      for await (const value of socket.frames(signal)) {
        const frame = parseServerFrame(value);
        if (frame === undefined || frame.type === "worker.ready.v1") throw violation(socket, value);
        yield frame;
      }
    },
    [Symbol.dispose]: () => socket[Symbol.dispose](),
  };
}

/** Closes the socket because of a bad frame, and returns the error for it. */
function violation(socket: Socket, frame: Json): SocketError {
  const details = { code: closeCode.protocolError, reason: "protocol_error" };
  socket.close(details.code, details.reason);
  return new SocketError(`unexpected or malformed frame: ${JSON.stringify(frame).slice(0, 200)}`, details);
}
