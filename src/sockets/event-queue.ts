// The events that wait for the server, and how far each one has come.
import type { PrefectEvent } from "../api/wire.ts";
import { monotonicMs } from "../async/clock.ts";

/** How many events are queued during an outage. Beyond it, the oldest are dropped. At 1 KB each this is 1 MB. */
const maxQueued = 1000;
/**
 * If the connection ends this soon after an event was sent, the event may be the reason, or it may be lost. A pong does
 * not help, because the server sends it before it checks earlier frames. One server sent the pong after 7 ms, and
 * closed because of a bad event after 12 ms.
 */
const doubtfulMs = 10_000;
/** How often an event is sent over the socket if HTTP does not show whether the event is the cause. */
const maxAttempts = 3;

/** An event and its progress. */
export interface QueuedEvent {
  readonly event: PrefectEvent;
  /** When it was sent over the current connection. Undefined if it was not. */
  sentAtMs: number | undefined;
  /** The server has answered a ping that was sent after the event. */
  isConfirmed: boolean;
  /** A connection ended soon after the event was sent. */
  isDoubtful: boolean;
  attempts: number;
}

/** A queue of events, in the order in which they were added. */
export class EventQueue {
  #events: QueuedEvent[] = [];

  /** Adds an event. Returns "lost one" if the oldest was dropped for it, although the server may not have it. */
  add(event: PrefectEvent): "added" | "lost one" {
    const [oldest] = this.#events.length === maxQueued ? this.#events.splice(0, 1) : [];
    this.#events.push({ event, sentAtMs: undefined, isConfirmed: false, isDoubtful: false, attempts: 0 });
    return oldest && !oldest.isConfirmed ? "lost one" : "added";
  }

  /** Returns the events that the server may not have. */
  pending(): QueuedEvent[] {
    return this.#events.filter(({ isConfirmed, isDoubtful }) => !isConfirmed || isDoubtful);
  }

  /** Returns the events that were not sent over the current connection and must be. */
  unsent(): QueuedEvent[] {
    return this.#events.filter(({ sentAtMs, isConfirmed }) => sentAtMs === undefined && !isConfirmed);
  }

  /** Returns the events that an earlier connection may have lost. */
  doubtful(): QueuedEvent[] {
    return this.#events.filter(({ isDoubtful }) => isDoubtful);
  }

  /** Marks the events that were sent last. The connection has ended, so the server may not have accepted them. */
  markDoubtful(): void {
    this.dropSettled();
    for (const queued of this.#events) {
      queued.isDoubtful ||= queued.sentAtMs !== undefined;
      queued.sentAtMs = undefined;
    }
  }

  /** Doubtful events are sent over the socket again. Removes and returns those that were sent too often. */
  sendAgain(doubtful: readonly QueuedEvent[]): QueuedEvent[] {
    for (const queued of doubtful) queued.isDoubtful = false;
    const failing = doubtful.filter(({ attempts, isConfirmed }) => attempts >= maxAttempts && !isConfirmed);
    this.remove(failing);
    return failing;
  }

  /** Removes confirmed events after which the connection has stayed open long enough. */
  dropSettled(): void {
    const now = monotonicMs();
    this.#events = this.#events.filter(
      ({ isConfirmed, isDoubtful, sentAtMs }) =>
        !isConfirmed || isDoubtful || (sentAtMs !== undefined && now - sentAtMs < doubtfulMs),
    );
  }

  /** Removes events. */
  remove(removed: readonly QueuedEvent[]): void {
    const set = new Set(removed);
    this.#events = this.#events.filter((queued) => !set.has(queued));
  }
}
