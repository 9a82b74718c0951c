// The subscriptions to the events of the server model.
import type { Json, PrefectEvent } from "../../src/api/wire.ts";
import { FrameQueue, type Socket } from "../../src/sockets/socket.ts";
import { SocketError } from "../../src/sockets/socket-error.ts";
import type { NetworkParts } from "./network.ts";
import type { ModelRun, ModelState } from "./state-rules.ts";
import type { Owner } from "./virtual-clock.ts";

interface EventFilter {
  readonly types: readonly string[];
  readonly poolId: string;
}

/** An event of the server, and what filters look at. */
interface PublishedEvent {
  readonly event: PrefectEvent;
  readonly type: string;
  readonly poolId: string | null;
}

/** The server replays events of this time to a new subscription. */
const replayMs = 60_000;

/** All subscriptions, and the events that new ones get. */
export class EventSockets {
  readonly #open = new Set<EventSocket>();
  readonly #events: PublishedEvent[] = [];

  constructor(private readonly parts: NetworkParts) {}

  /** Opens the subscription of `owner`. */
  open(owner: Owner): Socket {
    const socket = new EventSocket(this, this.parts, owner);
    this.#open.add(socket);
    return socket;
  }

  /** Forgets a subscription that has ended. */
  remove(socket: EventSocket): void {
    this.#open.delete(socket);
  }

  /** Ends all subscriptions, as a restart of the server does. */
  breakAll(): void {
    for (const socket of this.#open) socket.end(new SocketError("closed by the server"));
  }

  /** Returns the events of the last minute for a subscription. */
  replay(filter: EventFilter): PrefectEvent[] {
    const since = this.parts.clock.now - replayMs;
    return this.#events.filter((each) => matches(each, filter) && at(each.event) >= since).map(({ event }) => event);
  }

  /** Sends an event to all subscriptions that match. */
  publish(run: ModelRun, state: ModelState, poolId: string | null): void {
    const event: PrefectEvent = {
      id: state.id,
      occurred: state.timestamp,
      event: `prefect.flow-run.${state.name}`,
      resource: {
        "prefect.resource.id": `prefect.flow-run.${run.id}`,
        "prefect.state-type": state.type,
        "prefect.state-name": state.name,
      },
      related: [{ "prefect.resource.role": "work-queue", "prefect.resource.name": "default" }],
      payload: { at: this.parts.clock.now },
      follows: null,
    };
    this.parts.trace(() => `server: ${run.name} is ${state.type} (${state.name})`);
    const published = { event, type: state.type, poolId };
    this.#events.push(published);
    for (const socket of this.#open) if (matches(published, socket.filter)) socket.deliver(event);
  }
}

function matches(each: PublishedEvent, filter: EventFilter | undefined): boolean {
  return filter !== undefined && each.poolId === filter.poolId && filter.types.includes(each.type);
}

function at(event: PrefectEvent): number {
  return Number((event.payload as { at: number }).at);
}

/** One event subscription. */
class EventSocket implements Socket {
  filter: EventFilter | undefined;
  readonly #received = new FrameQueue();
  #isDeaf = false;
  /** Frames arrive in the order in which they were sent. */
  #lastArrival = 0;

  constructor(
    private readonly sockets: EventSockets,
    private readonly parts: NetworkParts,
    private readonly owner: Owner,
  ) {}

  send(frame: Json): void {
    const { filter } = frame as {
      filter: { resource: { labels: Record<string, string[]> }; any_resource: { id: string[] } };
    };
    const types = filter.resource.labels["prefect.state-type"] ?? [];
    const poolId = (filter.any_resource.id[0] ?? "").replace("prefect.work-pool.", "");
    const { clock, world, random } = this.parts;
    clock.after(random() * 1_000, world, () => {
      this.filter = { types, poolId };
      for (const event of this.sockets.replay(this.filter)) this.deliver(event);
    });
  }

  /** Sends an event to the worker, unless a fault drops it. */
  deliver(event: PrefectEvent): void {
    const { clock, faults, random } = this.parts;
    if (faults.happens("socket deaf")) {
      this.#isDeaf = true;
      // Missing answers to pings end the connection.
      clock.after(30_000 + random() * 30_000, this.owner, () => this.end(new SocketError("no answer to a ping")));
    }
    if (this.#isDeaf || faults.happens("event dropped")) return;
    if (faults.happens("socket closed")) {
      this.end(new SocketError("closed by a proxy"));
      return;
    }
    const times = faults.happens("event replayed") ? 2 : 1;
    for (let time = 0; time < times; time++) {
      const delay = 1 + random() * 50 + time * random() * 10_000;
      this.#lastArrival = Math.max(this.#lastArrival, clock.now + delay);
      clock.after(this.#lastArrival - clock.now, this.owner, () => {
        this.#received.add({ type: "event", event: event as unknown as Json });
      });
    }
  }

  /** Ends the connection. */
  end(reason: SocketError | "clean"): void {
    this.sockets.remove(this);
    this.parts.clock.after(1, this.owner, () => this.#received.end(reason));
  }

  close(): void {
    this.end("clean");
  }

  frames(signal: AbortSignal): AsyncGenerator<Json> {
    return this.#received.read(signal);
  }

  async ping(): Promise<void> {}

  [Symbol.dispose](): void {
    this.sockets.remove(this);
  }
}
