// A WebSocket as a sequence of JSON frames: sending, receiving in order, pings, and the reason of its end.
import type WebSocket from "ws";
import { templateOfFrame } from "../api/exact-places.ts";
import type { Json } from "../api/wire.ts";
import { monotonicMs } from "../async/clock.ts";
import { keepNumberTexts, stringifyExactJson } from "../exact-json.ts";
import { inSeconds, type KeepAlive } from "./keep-alive.ts";
import { Liveness } from "./liveness.ts";
import { SocketError } from "./socket-error.ts";

/** Close codes of RFC 6455. `none` is the code of a connection that broke off without a close frame. */
export const closeCode = {
  normal: 1000,
  goingAway: 1001,
  protocolError: 1002,
  none: 1006,
  policyViolation: 1008,
} as const;

/** An open, authenticated socket. Disposing closes it. */
export interface Socket extends Disposable {
  /** Sends a frame. Does nothing if the socket has closed. */
  send(frame: Json): void;
  /** Closes with a code other than that of a normal end. */
  close(code: number, reason: string): void;
  /**
   * Yields the frames in order until `signal` aborts or the socket closes. Throws SocketError unless it closed cleanly.
   * Only one reader at a time.
   */
  frames(signal: AbortSignal): AsyncGenerator<Json>;
  /**
   * Sends a ping. Resolves when the peer has answered it, so that everything sent before has arrived, or when `signal`
   * aborts. Throws SocketError if the socket closes first.
   */
  ping(signal: AbortSignal): Promise<void>;
}

/** ws waits 30 s for the close frame of a silent peer, which would keep the program alive. */
const closingMs = 500;

/**
 * Returns `webSocket`, which may still be connecting, as a Socket. From this call on, no frame and no close is missed.
 */
export function wrapWebSocket(webSocket: WebSocket, keepAlive: KeepAlive): Socket {
  const { url } = webSocket;
  const received = new FrameQueue();
  const onDead = (): void => received.end(new SocketError(`${url}: no answer to a ping`));
  const liveness = new Liveness(webSocket, keepAlive.pingMs, onDead);
  let openedAtMs: number | undefined;
  let isClosedLocally = false;
  webSocket.on("open", () => {
    openedAtMs = monotonicMs();
    liveness.start();
  });
  webSocket.on("message", (data) => {
    try {
      received.add(parseFrame(String(data)));
    } catch {
      const message = `${url}: sent a frame that is not JSON`;
      received.end(new SocketError(message, { code: closeCode.protocolError }));
      webSocket.terminate();
    }
  });
  webSocket.on("error", (error) => received.end(new SocketError(`${url}: ${error.message}`)));
  webSocket.on("close", (code, bytes) => {
    liveness.stop();
    const reason = String(bytes).replace(/\s+/g, " ");
    const message = `${url}: closed with ${code} ${reason}`.trim();
    if (code === closeCode.normal || code === closeCode.goingAway) received.end("clean");
    // Only a break that lictor did not cause says something about proxies.
    else if (code !== closeCode.none || openedAtMs === undefined || received.hasEnded || isClosedLocally)
      received.end(new SocketError(message, { code, reason }));
    else received.end(brokenConnectionError(message, keepAlive, openedAtMs, liveness.silentMs));
  });
  return {
    send: (frame) => webSocket.send(stringifyExactJson(frame)),
    close(code, reason) {
      isClosedLocally = true;
      webSocket.close(code, reason);
    },
    frames: (signal) => received.read(signal),
    ping: (signal) => liveness.ping(signal),
    [Symbol.dispose]() {
      isClosedLocally = true;
      webSocket.close(closeCode.normal);
      setTimeout(() => webSocket.terminate(), closingMs).unref();
    },
  };
}

/** The frames that were received and not read yet, and how the socket ended. */
export class FrameQueue {
  readonly #frames: Json[] = [];
  #end: SocketError | "clean" | undefined;
  #wakeReader: () => void = () => {};

  /** Whether the end was noted. Frames may be left. */
  get hasEnded(): boolean {
    return this.#end !== undefined;
  }

  /** Adds a frame that was received. */
  add(frame: Json): void {
    this.#frames.push(frame);
    this.#wakeReader();
  }

  /** Notes how the socket ended. Later calls change nothing. */
  end(reason: SocketError | "clean"): void {
    this.#end ??= reason;
    this.#wakeReader();
  }

  /** Returns the frames until the socket ends or `signal` aborts. Throws the error that ended the socket. */
  async *read(signal: AbortSignal): AsyncGenerator<Json> {
    const onAbort = (): void => this.#wakeReader();
    signal.addEventListener("abort", onAbort);
    try {
      while (!signal.aborted) {
        const frame = this.#frames.shift();
        if (frame !== undefined) yield frame;
        else if (this.#end === "clean") return;
        else if (this.#end) throw this.#end;
        else
          await new Promise<void>((resolve) => {
            this.#wakeReader = resolve;
          });
      }
    } finally {
      signal.removeEventListener("abort", onAbort);
    }
  }
}

/** Throws SyntaxError if `text` is not JSON. */
function parseFrame(text: string): Json {
  const frame = JSON.parse(text) as Json;
  keepNumberTexts(text, frame, templateOfFrame);
  return frame;
}

/** Returns the error for an open connection that broke off, with its age and, if known, the likely cause. */
function brokenConnectionError(
  message: string,
  keepAlive: KeepAlive,
  openedAtMs: number,
  silentMs: number,
): SocketError {
  const endedAtMs = monotonicMs();
  const openMs = endedAtMs - openedAtMs;
  const details = { code: closeCode.none, reason: "", openMs, silentMs };
  const learned = keepAlive.learn({ endedAtMs, openMs, silentMs });
  return new SocketError(`${message} after ${inSeconds(openMs)} s`, { ...details, ...learned });
}
