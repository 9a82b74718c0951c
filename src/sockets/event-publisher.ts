// Sending events of the worker, best effort: an unreachable socket costs one warning, never a flow run.
// Source: prefect events/clients.py PrefectEventsClient.
import type { PrefectEvent } from "../api/wire.ts";
import { runTogether } from "../async/run-together.ts";
import { sleep } from "../async/sleep.ts";
import { Wake } from "../async/wake.ts";
import type { Logger } from "../logger.ts";
import { connectSocket, type Socket, type SocketAddress } from "./connect.ts";
import { keepConnected } from "./keep-connected.ts";
import { SocketError } from "./socket-error.ts";

/** Events kept while the socket is away; beyond it the oldest are dropped. At 1 KB each this is 1 MB. */
const maxUnconfirmed = 1000;
/** An idle turn of the sender; only bounds how late it notices that nothing is to be sent. */
const idleMs = 60_000;
/** What a flush without a socket waits for one. */
const openingMs = 1_500;

/** The outgoing events of one worker. */
export class EventPublisher {
  /** Events taken so far, and times the server was known to have read all that was sent. */
  emittedCount = 0;
  checkpointCount = 0;
  /** Sent or not, but not known to have been read by the server: sent again, same ids, after a reconnection. */
  #unconfirmed: PrefectEvent[] = [];
  /** How many of them have been sent over the present socket. */
  #sent = 0;
  #dropped = 0;
  #connected = false;
  readonly #wake = new Wake();

  constructor(
    private readonly options: { address: SocketAddress; isCloud: boolean; log: Logger; random: () => number },
  ) {}

  /** Whether the socket is open now. */
  get isConnected(): boolean {
    return this.#connected;
  }

  /** Takes an event to be sent as soon as possible. Returns at once. */
  emit(event: PrefectEvent): void {
    if (this.#unconfirmed.length === maxUnconfirmed) {
      this.#unconfirmed.shift();
      this.#sent = Math.max(0, this.#sent - 1);
      if (this.#dropped++ === 0) this.options.log.warn("Too many worker events are waiting; the oldest are dropped.");
    }
    this.emittedCount++;
    this.#unconfirmed.push(event);
    this.#wake.wake("event");
  }

  /** Sends until `signal` aborts, reconnecting as needed. */
  async run(signal: AbortSignal): Promise<void> {
    await keepConnected(
      {
        name: "the events stream (/events/in)",
        meanwhile: "worker events are kept and sent later",
        // Cloud authenticates this route by the header alone and takes a message of another kind for a bad event.
        open: (opening) =>
          connectSocket(this.options.address, "/events/in", { inBand: !this.options.isCloud, signal: opening }),
        serve: (socket, serving) => this.#serve(socket, serving),
        log: this.options.log,
        random: this.options.random,
      },
      signal,
    );
  }

  /**
   * Waits for the events taken so far to be read by the server, at most until `deadline` aborts, and without a socket
   * only for one to be opened that is just about to be.
   */
  async flush(deadline: AbortSignal): Promise<void> {
    const opening = AbortSignal.timeout(openingMs);
    while (this.#unconfirmed.length > 0 && !deadline.aborted && (this.#connected || !opening.aborted)) {
      await sleep(20, deadline);
    }
  }

  async #serve(socket: Socket, signal: AbortSignal): Promise<void> {
    this.#sent = 0;
    this.#connected = true;
    try {
      await runTogether(signal, [(serving) => this.#sendAll(socket, serving), (serving) => watchEnd(socket, serving)]);
    } finally {
      this.#connected = false;
    }
  }

  async #sendAll(socket: Socket, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const unsent = this.#unconfirmed.slice(this.#sent);
      if (unsent.length === 0) {
        await this.#wake.sleep(idleMs, signal);
        continue;
      }
      for (const event of unsent) socket.send(event);
      this.#sent = this.#unconfirmed.length;
      await socket.confirmed(signal);
      this.checkpointCount++;
      // Meanwhile events may have been dropped at the front, which #sent has followed.
      if (!signal.aborted) this.#sent -= this.#unconfirmed.splice(0, this.#sent).length;
    }
  }
}

/** The server sends nothing here; reading is how its end is noticed. */
async function watchEnd(socket: Socket, signal: AbortSignal): Promise<void> {
  for await (const _ of socket.frames(signal));
  if (!signal.aborted) throw new SocketError("closed by the server");
}
