// Sends the worker's events, best effort. An unreachable server causes one warning and never harms a flow run.
// Source: prefect events/clients.py PrefectEventsClient.
import { ApiError } from "../api/errors.ts";
import type { PrefectEvent } from "../api/wire.ts";
import { monotonicMs, timeoutSignal } from "../async/clock.ts";
import { LinkedController } from "../async/linked-controller.ts";
import { runTogether } from "../async/run-together.ts";
import { sleep } from "../async/sleep.ts";
import { Wake } from "../async/wake.ts";
import type { Logger } from "../logger.ts";
import { connectSocket, type SocketAddress } from "./connect.ts";
import { type EventLimits, fitEvent } from "./event-limits.ts";
import { EventQueue, type QueuedEvent } from "./event-queue.ts";
import { keepConnected } from "./keep-connected.ts";
import { type EventsApi, postEvents } from "./post-events.ts";
import type { Socket } from "./socket.ts";
import { SocketError } from "./socket-error.ts";
import { StoredEvents } from "./stored-events.ts";

/** How long the sender sleeps without a wake. */
const idleMs = 60_000;
/** How long a flush waits for the socket to open. */
const flushOpeningMs = 1_500;
/** How long a flush waits for an open socket to send the events. Then it sends the rest by HTTP. */
const flushSocketMs = 2_000;
/** The time limit for sending doubtful events by HTTP. Then they are sent over the socket again. */
const postMs = 10_000;
/** The time limit for HTTP in a flush, because an outage must not delay the end of the worker. */
const flushPostMs = 2_500;
/** The time limit for events that the server has accepted and not stored so far. Nearly all of them need no help. */
const flushStoredMs = 2_000;
/** The options of an event publisher. */
export interface EventPublisherOptions {
  address: SocketAddress;
  isCloud: boolean;
  api: EventsApi;
  limits: EventLimits;
  log: Logger;
  random: () => number;
}

/** Queues and sends the events of the workers. */
export class EventPublisher {
  /** The number of emitted events, and how often the server confirmed that it had received all sent events. */
  emittedCount = 0;
  checkpointCount = 0;
  readonly #queue = new EventQueue();
  #isConnected = false;
  readonly #wake = new Wake();
  readonly #stored: StoredEvents | null;
  readonly #warned = new Set<string>();

  constructor(private readonly options: EventPublisherOptions) {
    // Only self-hosted servers are checked, because a key of Cloud may lack the permission to read events.
    this.#stored = options.isCloud ? null : new StoredEvents(options.api, options.log);
  }

  /** True while the socket is open. */
  get isConnected(): boolean {
    return this.#isConnected;
  }

  /** Queues an event, cut to the limits of the server. Returns at once. */
  emit(event: PrefectEvent): void {
    this.emittedCount++;
    const fitted = fitEvent(event, this.options.limits);
    if (!fitted) {
      const limit = "PREFECT_SERVER_EVENTS_MAXIMUM_SIZE_BYTES";
      this.#warnOnce("size", `An event '${event.event}' is larger than ${limit} allows and is dropped.`);
      return;
    }
    if (fitted.omittedCount > 0) {
      const names = `${fitted.event.related.length} of its ${event.related.length} related resources`;
      const limit = "PREFECT_SERVER_EVENTS_MAXIMUM_RELATED_RESOURCES";
      this.#warnOnce("related", `An event '${event.event}' names only ${names}; the limit is ${limit}.`);
    }
    if (this.#queue.add(fitted.event) === "lost one")
      this.#warnOnce("full", "Too many worker events are waiting; the oldest are dropped.");
    this.#wake.wake("event");
  }

  /** Sends events until `signal` aborts, and reconnects as needed. Never throws. */
  async run(signal: AbortSignal): Promise<void> {
    await Promise.all([this.#keepSending(signal), this.#stored?.run(signal)]);
  }

  async #keepSending(signal: AbortSignal): Promise<void> {
    await keepConnected(
      {
        name: "the events stream (/events/in)",
        fallback: "worker events are kept and sent later",
        // Cloud authenticates this route only by the header, and treats an auth message as a bad event.
        open: (openSignal) =>
          connectSocket(this.options.address, "/events/in", { inBand: !this.options.isCloud, signal: openSignal }),
        use: (socket, loopSignal) => this.#use(socket, loopSignal),
        log: this.options.log,
        random: this.options.random,
      },
      signal,
    );
  }

  /**
   * Waits until the server has received the events emitted so far, at most until `deadline` aborts. Events that the
   * socket does not send soon are sent by HTTP. Accepted events that are not stored so far are sent once more.
   */
  async flush(deadline: AbortSignal): Promise<void> {
    const startedAtMs = monotonicMs();
    const mayWait = (): boolean => monotonicMs() - startedAtMs < (this.#isConnected ? flushSocketMs : flushOpeningMs);
    while (this.#queue.pending().length > 0 && !deadline.aborted && mayWait()) await sleep(20, deadline);
    const rest = this.#queue.pending();
    if (deadline.aborted) return;
    using postEnd = new LinkedController(deadline, timeoutSignal(flushPostMs));
    using storedEnd = new LinkedController(deadline, timeoutSignal(flushStoredMs));
    await Promise.all([
      // It comes first, because it looks only at events that were sent earlier.
      this.#stored?.finish(storedEnd.signal),
      rest.length > 0 ? this.#post(rest, postEnd.signal) : null,
    ]);
  }

  async #use(socket: Socket, signal: AbortSignal): Promise<void> {
    this.#isConnected = true;
    try {
      await runTogether(signal, [
        (loopSignal) => this.#sendAll(socket, loopSignal),
        (loopSignal) => watchEnd(socket, loopSignal),
      ]);
    } finally {
      this.#isConnected = false;
      this.#queue.markDoubtful();
    }
  }

  async #sendAll(socket: Socket, signal: AbortSignal): Promise<void> {
    const doubtful = this.#queue.doubtful();
    if (doubtful.length > 0) await this.#postDoubtful(doubtful, signal);
    while (!signal.aborted) {
      this.#queue.dropSettled();
      const unsent = this.#queue.unsent();
      if (unsent.length === 0) {
        await this.#wake.sleep(idleMs, signal);
        continue;
      }
      for (const queued of unsent) {
        queued.sentAtMs = monotonicMs();
        queued.attempts++;
        socket.send(queued.event);
      }
      await socket.ping(signal);
      if (signal.aborted) return;
      this.checkpointCount++;
      for (const queued of unsent) queued.isConfirmed = true;
      this.#stored?.observe(unsent.map(({ event }) => event));
    }
  }

  /** Sends doubtful events by HTTP, where refused events are named. If that fails, uses the socket again. */
  async #postDoubtful(doubtful: readonly QueuedEvent[], signal: AbortSignal): Promise<void> {
    using end = new LinkedController(signal, timeoutSignal(postMs));
    if (await this.#post(doubtful, end.signal)) return;
    const failing = this.#queue.sendAgain(doubtful);
    if (failing.length === 0) return;
    this.options.log.warn(
      `${failing.length} worker events are dropped: each time they were sent, the server ended the connection.`,
    );
  }

  /** Sends events by HTTP. Returns true after removing them, if the server has accepted or refused each. */
  async #post(queued: readonly QueuedEvent[], signal: AbortSignal): Promise<boolean> {
    const { api, log } = this.options;
    const events = queued.map(({ event }) => event);
    try {
      const refused = await postEvents(api, events, signal);
      this.#queue.remove(queued);
      for (const { event, reason } of refused) {
        const message = `The server refused the event '${event.event}' (${event.id}), which is dropped: ${reason}`;
        this.#warnOnce("refused", message);
      }
      const refusedIds = new Set(refused.map(({ event }) => event.id));
      this.#stored?.observe(events.filter(({ id }) => !refusedIds.has(id)));
      return true;
    } catch (error) {
      if (signal.aborted) return false;
      // An outage says nothing about the events, so their attempts do not count.
      if (!(error instanceof ApiError && error.status < 500)) for (const each of queued) each.attempts = 0;
      log.debug({ err: error }, "The worker's events could not be sent by HTTP.");
      return false;
    }
  }

  #warnOnce(kind: string, message: string): void {
    this.options.log[this.#warned.has(kind) ? "debug" : "warn"](message);
    this.#warned.add(kind);
  }
}

/** Reads until the connection ends, and throws then. The server sends no frames on this socket. */
async function watchEnd(socket: Socket, signal: AbortSignal): Promise<void> {
  for await (const _ of socket.frames(signal));
  if (!signal.aborted) throw new SocketError("closed by the server");
}
