// Virtual time: a queue of events. The clock runs one event, waits until no promise is left to settle, and then jumps to
// the time of the next event. So an hour takes milliseconds, and the same seed gives the same order.
import type { CancelTimer, Clock } from "../../src/async/clock.ts";

/** Whose code an event runs: one lictor process, or a part of the world. Events of a dead owner never run. */
export interface Owner {
  readonly name: string;
  /** It is the process of a flow run. */
  readonly isEngine: boolean;
  alive: boolean;
  /** How far the wall clock of its machine is ahead. */
  wallOffsetMs: number;
  /** How many timers are set that keep a program alive. */
  timerCount: number;
}

/** One event of the queue. */
interface QueuedEvent {
  readonly at: number;
  /** Events of the same time run in the order of their creation. */
  readonly order: number;
  readonly owner: Owner;
  readonly isTimer: boolean;
  /** Null after the event has run or was cancelled. */
  callback: (() => void) | null;
}

/** The wall clock at the start of each simulation. */
export const epochMs = Date.UTC(2026, 0, 1);

/** Creates an owner whose clock is right. */
export function createOwner(name: string, { wallOffsetMs = 0, isEngine = false } = {}): Owner {
  return { name, isEngine, alive: true, wallOffsetMs, timerCount: 0 };
}

/** The queue of events, and the clock that shows the time of the current event. */
export class VirtualClock implements Clock {
  now = 0;
  /** How many events have run. */
  eventCount = 0;
  /** The owner of the event that runs now. */
  current: Owner;
  #order = 0;
  readonly #heap: QueuedEvent[] = [];

  constructor(world: Owner) {
    this.current = world;
  }

  monotonicMs(): number {
    return this.now;
  }

  wallClockMs(): number {
    return epochMs + Math.floor(this.now) + this.current.wallOffsetMs;
  }

  startTimer(ms: number, callback: () => void): CancelTimer {
    const owner = this.current;
    owner.timerCount++;
    const delayMs = ms >= 1 ? ms : 1;
    return this.#add(delayMs, owner, callback, true);
  }

  timeoutSignal(ms: number): AbortSignal {
    const over = new AbortController();
    this.after(ms, this.current, () => over.abort(new DOMException("timed out", "TimeoutError")));
    return over.signal;
  }

  /** Runs `callback` as `owner` after `ms` milliseconds. Returns what cancels it. */
  after(ms: number, owner: Owner, callback: () => void): CancelTimer {
    return this.#add(ms, owner, callback, false);
  }

  /** Resolves after `ms` milliseconds. Never resolves if `owner` has died by then. */
  async pause(ms: number, owner: Owner): Promise<void> {
    await new Promise<void>((resolve) => this.after(ms, owner, resolve));
  }

  /** Runs events until `isOver` returns true, no event is left, or `untilMs` is reached. */
  async run(untilMs: number, isOver: () => boolean): Promise<void> {
    await settlePromises();
    while (!isOver()) {
      const next = this.#heap[0];
      if (next === undefined || next.at > untilMs) {
        this.now = Math.max(this.now, Math.min(untilMs, next?.at ?? this.now));
        return;
      }
      this.#removeFirst();
      const { callback, owner } = next;
      if (callback === null) continue;
      next.callback = null;
      if (next.isTimer) owner.timerCount--;
      if (!owner.alive) continue;
      this.now = next.at;
      this.current = owner;
      this.eventCount++;
      callback();
      await settlePromises();
    }
  }

  #add(ms: number, owner: Owner, callback: () => void, isTimer: boolean): CancelTimer {
    const event: QueuedEvent = { at: this.now + Math.max(0, ms), order: this.#order++, owner, isTimer, callback };
    this.#insert(event);
    return () => {
      if (event.callback === null) return;
      event.callback = null;
      if (isTimer) owner.timerCount--;
    };
  }

  /** Inserts into the binary heap. */
  #insert(event: QueuedEvent): void {
    const heap = this.#heap;
    let index = heap.length;
    heap.push(event);
    while (index > 0) {
      const parent = (index - 1) >> 1;
      const above = heap[parent] as QueuedEvent;
      if (isBefore(above, event)) break;
      heap[index] = above;
      index = parent;
    }
    heap[index] = event;
  }

  #removeFirst(): void {
    const heap = this.#heap;
    const last = heap.pop() as QueuedEvent;
    if (heap.length === 0) return;
    let index = 0;
    for (;;) {
      let child = 2 * index + 1;
      if (child >= heap.length) break;
      const right = heap[child + 1];
      if (right && isBefore(right, heap[child] as QueuedEvent)) child++;
      if (isBefore(last, heap[child] as QueuedEvent)) break;
      heap[index] = heap[child] as QueuedEvent;
      index = child;
    }
    heap[index] = last;
  }
}

function isBefore(one: QueuedEvent, other: QueuedEvent): boolean {
  return one.at < other.at || (one.at === other.at && one.order < other.order);
}

/** Resolves when no promise is left that can settle now. Node.js runs a tick only after all of them. */
async function settlePromises(): Promise<void> {
  await new Promise<void>((resolve) => process.nextTick(resolve));
}
