// Pings: they show whether the peer is there and what it has read, and they keep proxies from ending an idle connection.
import WebSocket from "ws";
import { monotonicMs } from "../async/clock.ts";
import { SocketError } from "./socket-error.ts";

/** A peer that answers no ping for this long is gone. Source: the keep-alive of the reference's websockets library. */
const deadAfterMs = 20_000;

/** The pings of one connection. */
export class Liveness {
  #sent = 0;
  #answered = 0;
  #receivedAt = monotonicMs();
  readonly #timer: NodeJS.Timeout;

  /** Pings every `intervalMs`. Calls `onDead` and ends the socket when the peer has answered none for 20 s. */
  constructor(
    private readonly socket: WebSocket,
    intervalMs: number,
    onDead: () => void,
  ) {
    const received = (): void => {
      this.#receivedAt = monotonicMs();
    };
    socket.on("message", received);
    socket.on("ping", received);
    socket.on("pong", (data) => {
      received();
      // A peer may answer only the latest of several pings, so an answer counts for all before it (RFC 6455 5.5.3).
      const number = Number(data.toString());
      if (number <= this.#sent) this.#answered = Math.max(this.#answered, number);
    });
    const toleratedPings = Math.ceil(deadAfterMs / intervalMs);
    this.#timer = setInterval(() => {
      if (this.#sent - this.#answered >= toleratedPings) {
        onDead();
        socket.terminate();
      } else if (socket.readyState === WebSocket.OPEN) {
        this.#ping();
      }
    }, intervalMs);
  }

  /** Milliseconds since anything came from the peer, or since the socket opened. */
  get silentMs(): number {
    return monotonicMs() - this.#receivedAt;
  }

  /** The connection is open now: silence counts from here. */
  opened(): void {
    this.#receivedAt = monotonicMs();
  }

  /**
   * Resolves when the peer has answered a ping that is sent now, or when `signal` aborts. Throws SocketError when the
   * socket closes instead.
   */
  async confirmed(signal: AbortSignal): Promise<void> {
    const { socket } = this;
    if (socket.readyState !== WebSocket.OPEN) throw this.#closed();
    const number = this.#ping();
    await new Promise<void>((resolve, reject) => {
      const listening = new AbortController();
      const end = (settle: () => void): void => {
        listening.abort();
        socket.off("pong", onPong);
        socket.off("close", onClose);
        settle();
      };
      // The listener of the constructor came first, so this answer is counted already.
      const onPong = (): void => {
        if (this.#answered >= number) end(resolve);
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

  /** Sends a ping that carries its number, which the peer repeats in its answer. */
  #ping(): number {
    this.#sent++;
    this.socket.ping(String(this.#sent));
    return this.#sent;
  }

  #closed(): SocketError {
    return new SocketError(`${this.socket.url}: closed before it confirmed`);
  }
}
