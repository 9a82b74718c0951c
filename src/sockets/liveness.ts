// Pings. They show whether the peer responds and what it has read. They also keep proxies from ending an idle
// connection.
import type WebSocket from "ws";
import { monotonicMs } from "../async/clock.ts";
import { SocketError } from "./socket-error.ts";

/** A peer that answers no ping for this long is gone. Source: the keep-alive of the reference's websockets library. */
const deadAfterMs = 20_000;

/** The pings of one connection. */
export class Liveness {
  #sentNumber = 0;
  #answeredNumber = 0;
  #receivedAtMs = monotonicMs();
  readonly #timer: NodeJS.Timeout;

  /** Sends a ping every `intervalMs`. Calls `onDead` and ends the socket if the peer has answered none for 20 s. */
  constructor(
    private readonly socket: WebSocket,
    intervalMs: number,
    onDead: () => void,
  ) {
    const onReceived = (): void => {
      this.#receivedAtMs = monotonicMs();
    };
    socket.on("message", onReceived);
    socket.on("ping", onReceived);
    socket.on("pong", (data) => {
      onReceived();
      // A peer may answer only the latest of several pings, so an answer counts for all before it (RFC 6455 5.5.3).
      const number = Number(data.toString());
      if (number <= this.#sentNumber) this.#answeredNumber = Math.max(this.#answeredNumber, number);
    });
    const toleratedPings = Math.ceil(deadAfterMs / intervalMs);
    this.#timer = setInterval(() => {
      if (this.#sentNumber - this.#answeredNumber >= toleratedPings) {
        onDead();
        socket.terminate();
      } else if (socket.readyState === socket.OPEN) {
        this.#sendPing();
      }
    }, intervalMs);
  }

  /** Milliseconds since the last data from the peer, or since the socket opened. */
  get silentMs(): number {
    return monotonicMs() - this.#receivedAtMs;
  }

  /** Call when the connection is open, because `silentMs` counts from then. */
  start(): void {
    this.#receivedAtMs = monotonicMs();
  }

  /**
   * Sends a ping. Resolves when the peer has answered it, or when `signal` aborts. Throws SocketError if the socket
   * closes first.
   */
  async ping(signal: AbortSignal): Promise<void> {
    const { socket } = this;
    if (socket.readyState !== socket.OPEN) throw this.#closed();
    const number = this.#sendPing();
    await new Promise<void>((resolve, reject) => {
      const listening = new AbortController();
      const end = (settle: () => void): void => {
        listening.abort();
        socket.off("pong", onPong);
        socket.off("close", onClose);
        settle();
      };
      // The listener of the constructor was added first, so it has already counted this pong.
      const onPong = (): void => {
        if (this.#answeredNumber >= number) end(resolve);
      };
      const onClose = (): void => end(() => reject(this.#closed()));
      socket.on("pong", onPong);
      socket.on("close", onClose);
      if (signal.aborted) end(resolve);
      else signal.addEventListener("abort", () => end(resolve), { signal: listening.signal });
    });
  }

  /** Sends no more pings. */
  stop(): void {
    clearInterval(this.#timer);
  }

  /** Sends a ping with its number as data, which the pong repeats. Returns the number. */
  #sendPing(): number {
    this.#sentNumber++;
    this.socket.ping(String(this.#sentNumber));
    return this.#sentNumber;
  }

  #closed(): SocketError {
    return new SocketError(`${this.socket.url}: closed before it confirmed`);
  }
}
