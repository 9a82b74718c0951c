// Sending events of the worker, best effort: an unreachable socket costs one warning, never a flow run.
// Source: prefect events/clients.py PrefectEventsClient.
import { ApiError } from "../api/errors.ts";
import type { PrefectEvent } from "../api/wire.ts";
import { monotonicMs } from "../async/clock.ts";
import { runTogether } from "../async/run-together.ts";
import { sleep } from "../async/sleep.ts";
import { Wake } from "../async/wake.ts";
import type { Logger } from "../logger.ts";
import { connectSocket, type Socket, type SocketAddress } from "./connect.ts";
import { type EventLimits, fitEvent } from "./event-limits.ts";
import { keepConnected } from "./keep-connected.ts";
import { type EventsApi, postEvents } from "./post-events.ts";
import { SocketError } from "./socket-error.ts";
import { StoredEvents } from "./stored-events.ts";

/** How many events are kept while the socket is away; then the oldest are dropped. At 1 KB each this is 1 MB. */
const maxQueued = 1000;
/** How long the sender sleeps without a reason to wake. */
const idleMs = 60_000;
/** How long a flush waits for a socket that is not open. */
const openingMs = 1_500;
/** How long a flush leaves the events to an open socket, before it sends the rest by HTTP. */
const socketFlushMs = 2_000;
/**
 * If the connection ends this soon after an event was sent, the event may be the reason, or may have been lost. The
 * server answers a ping before it has looked at the frames that came first: a real one answered after 7 ms and closed
 * because of a bad event after 12 ms.
 */
const doubtfulMs = 10_000;
/** How long doubtful events are tried by HTTP before they go over the socket again. */
const postMs = 10_000;
/** How long a flush tries HTTP. A server that is away must not hold up the end of the worker. */
const lastPostMs = 2_500;
/** How often an event goes over the socket when HTTP is no way to learn whether the event is at fault. */
const maxAttempts = 3;

/** An event and what is known of it. */
interface Queued {
  event: PrefectEvent;
  /** When it went over the present socket; undefined if it did not. */
  sentAtMs: number | undefined;
  /** The server has answered a ping that was sent after it. */
  isConfirmed: boolean;
  /** A connection ended soon after it was sent. */
  isDoubtful: boolean;
  attempts: number;
}

/** What the publisher of a worker works with. */
export interface EventPublisherOptions {
  address: SocketAddress;
  isCloud: boolean;
  api: EventsApi;
  limits: EventLimits;
  log: Logger;
  random: () => number;
}

/** The outgoing events of one worker. */
export class EventPublisher {
  /** How many events were taken so far, and how often the server had received everything that was sent. */
  emittedCount = 0;
  checkpointCount = 0;
  /** In the order in which they were taken. */
  #queue: Queued[] = [];
  #isConnected = false;
  readonly #wake = new Wake();
  readonly #stored: StoredEvents | null;
  readonly #warned = new Set<string>();

  constructor(private readonly options: EventPublisherOptions) {
    // Only self-hosted servers are checked, because a key of Cloud may not have the right to read events.
    this.#stored = options.isCloud ? null : new StoredEvents(options.api, options.log);
  }

  /** Whether the socket is open now. */
  get isConnected(): boolean {
    return this.#isConnected;
  }

  /** Takes an event, cut to the limits of the server, to be sent as soon as possible. Returns at once. */
  emit(event: PrefectEvent): void {
    this.emittedCount++;
    const fitted = fitEvent(event, this.options.limits);
    if (!fitted) {
      const limit = "PREFECT_SERVER_EVENTS_MAXIMUM_SIZE_BYTES";
      this.#warnOnce("size", `An event '${event.event}' is larger than ${limit} allows and is dropped.`);
      return;
    }
    if (fitted.left > 0) {
      const names = `${fitted.event.related.length} of its ${event.related.length} related resources`;
      const limit = "PREFECT_SERVER_EVENTS_MAXIMUM_RELATED_RESOURCES";
      this.#warnOnce("related", `An event '${event.event}' names only ${names}; the limit is ${limit}.`);
    }
    if (this.#queue.length === maxQueued) {
      const [oldest] = this.#queue.splice(0, 1);
      if (!oldest?.isConfirmed) this.#warnOnce("full", "Too many worker events are waiting; the oldest are dropped.");
    }
    const known = { sentAtMs: undefined, isConfirmed: false, isDoubtful: false, attempts: 0 };
    this.#queue.push({ event: fitted.event, ...known });
    this.#wake.wake("event");
  }

  /** Sends until `signal` aborts, reconnecting as needed. */
  async run(signal: AbortSignal): Promise<void> {
    await Promise.all([this.#keepSending(signal), this.#stored?.run(signal)]);
  }

  async #keepSending(signal: AbortSignal): Promise<void> {
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
   * Waits until the server has received the events taken so far, at most until `deadline` aborts. What the socket has
   * not brought there soon goes by HTTP.
   */
  async flush(deadline: AbortSignal): Promise<void> {
    const beganAtMs = monotonicMs();
    const isPatient = (): boolean => monotonicMs() - beganAtMs < (this.#isConnected ? socketFlushMs : openingMs);
    while (this.#pending().length > 0 && !deadline.aborted && isPatient()) await sleep(20, deadline);
    const rest = this.#pending();
    const patience = AbortSignal.timeout(lastPostMs);
    if (rest.length > 0 && !deadline.aborted) await this.#post(rest, AbortSignal.any([deadline, patience]));
  }

  /** The events that the server may not have. */
  #pending(): Queued[] {
    return this.#queue.filter(({ isConfirmed, isDoubtful }) => !isConfirmed || isDoubtful);
  }

  async #serve(socket: Socket, signal: AbortSignal): Promise<void> {
    this.#isConnected = true;
    try {
      await runTogether(signal, [(serving) => this.#sendAll(socket, serving), (serving) => watchEnd(socket, serving)]);
    } finally {
      this.#isConnected = false;
      this.#doubt();
    }
  }

  /** The connection has ended, so it is not known whether the server accepted the events that were sent last. */
  #doubt(): void {
    this.#forgetSettled();
    for (const queued of this.#queue) {
      queued.isDoubtful ||= queued.sentAtMs !== undefined;
      queued.sentAtMs = undefined;
    }
  }

  async #sendAll(socket: Socket, signal: AbortSignal): Promise<void> {
    const doubtful = this.#queue.filter(({ isDoubtful }) => isDoubtful);
    if (doubtful.length > 0) await this.#settle(doubtful, signal);
    while (!signal.aborted) {
      this.#forgetSettled();
      const unsent = this.#queue.filter(({ sentAtMs, isConfirmed }) => sentAtMs === undefined && !isConfirmed);
      if (unsent.length === 0) {
        await this.#wake.sleep(idleMs, signal);
        continue;
      }
      for (const queued of unsent) {
        queued.sentAtMs = monotonicMs();
        queued.attempts++;
        socket.send(queued.event);
      }
      await socket.confirmed(signal);
      if (signal.aborted) return;
      this.checkpointCount++;
      for (const queued of unsent) queued.isConfirmed = true;
      this.#stored?.observe(unsent.map(({ event }) => event));
    }
  }

  /** Forgets confirmed events after which the connection has stayed open for long enough. */
  #forgetSettled(): void {
    const now = monotonicMs();
    this.#queue = this.#queue.filter(
      ({ isConfirmed, isDoubtful, sentAtMs }) =>
        !isConfirmed || isDoubtful || (sentAtMs !== undefined && now - sentAtMs < doubtfulMs),
    );
  }

  /** Sends doubtful events by HTTP, where the server answers for each. If that fails, the socket is used again. */
  async #settle(doubtful: readonly Queued[], signal: AbortSignal): Promise<void> {
    const deadline = AbortSignal.timeout(postMs);
    if (await this.#post(doubtful, AbortSignal.any([signal, deadline]))) return;
    for (const queued of doubtful) queued.isDoubtful = false;
    const hopeless = doubtful.filter(({ attempts, isConfirmed }) => attempts >= maxAttempts && !isConfirmed);
    if (hopeless.length === 0) return;
    this.#remove(hopeless);
    this.options.log.warn(
      `${hopeless.length} worker events are dropped: each time they were sent, the server ended the connection.`,
    );
  }

  /** Sends by HTTP and removes what the server accepts or refuses. Returns false if it does neither. */
  async #post(queued: readonly Queued[], signal: AbortSignal): Promise<boolean> {
    const { api, log } = this.options;
    const events = queued.map(({ event }) => event);
    try {
      const refused = await postEvents(api, events, signal);
      this.#remove(queued);
      for (const { event, reason } of refused) {
        const message = `The server refused the event '${event.event}' (${event.id}), which is dropped: ${reason}`;
        this.#warnOnce("refused", message);
      }
      const refusedIds = new Set(refused.map(({ event }) => event.id));
      this.#stored?.observe(events.filter(({ id }) => !refusedIds.has(id)));
      return true;
    } catch (error) {
      if (signal.aborted) return false;
      // A server that is away says nothing about the events, so their attempts do not count.
      if (!(error instanceof ApiError && error.status < 500)) for (const each of queued) each.attempts = 0;
      log.debug({ err: error }, "The worker's events could not be sent by HTTP.");
      return false;
    }
  }

  #remove(gone: readonly Queued[]): void {
    const set = new Set(gone);
    this.#queue = this.#queue.filter((queued) => !set.has(queued));
  }

  #warnOnce(kind: string, message: string): void {
    this.options.log[this.#warned.has(kind) ? "debug" : "warn"](message);
    this.#warned.add(kind);
  }
}

/** The server sends nothing here, but reading notices the end of the connection. */
async function watchEnd(socket: Socket, signal: AbortSignal): Promise<void> {
  for await (const _ of socket.frames(signal));
  if (!signal.aborted) throw new SocketError("closed by the server");
}
