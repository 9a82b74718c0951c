// The one subscription to events of flow runs that all workers of the program share.
import { type BothClocks, bothClocks, wallClockMs } from "../async/clock.ts";
import { runTogether } from "../async/run-together.ts";
import { sleep } from "../async/sleep.ts";
import { Wake } from "../async/wake.ts";
import type { Logger } from "../logger.ts";
import type { SocketAddress } from "../sockets/connect.ts";
import {
  type FlowRunEvent,
  handledStateTypes,
  observedStateTypes,
  parseFlowRunEvent,
  subscribeToFlowRuns,
} from "../sockets/event-subscription.ts";
import { keepConnected } from "../sockets/keep-connected.ts";
import type { Socket } from "../sockets/socket.ts";
import { SocketError } from "../sockets/socket-error.ts";

/** The server may miss events while it sets up the subscription. Readers look again after this time. */
const setUpMs = 1500;
/** How often it is checked whether the subscription still fits. */
const checkMs = 5000;
/** Workers that start together are waited for this long, so that one new subscription serves them all. */
const gatherMs = 300;
/** A new subscription is made if the wall clock was set by more than this. */
const clockStepMs = 10_000;

/** A worker that reads the events of its work pool. */
export interface EventReader {
  /** The id of the work pool. It changes when the pool is deleted and created again. */
  workPoolId(): string;
  /** Called when the subscription to this work pool is open, and when it is not any more. */
  onConnected(isConnected: boolean): void;
  /** Called when events may have been missed, so that the server should be asked. */
  onMissed(isSetUp: boolean): void;
  /** Called for each event. `openedAt` is when the subscription was opened (ms since 1970). Earlier events are replayed. */
  onEvent(event: FlowRunEvent, openedAt: number): void;
}

/** The feed of events. Without workers, there is no subscription. */
export class EventFeed {
  readonly #readers = new Set<EventReader>();
  /** Woken when a reader joins. */
  readonly #joined = new Wake();

  /** `isObserved` adds the states that only the status page and the metrics need. */
  constructor(
    private readonly options: { address: SocketAddress; isObserved: boolean; log: Logger; random: () => number },
  ) {}

  /** Adds a reader. Disposing of the result removes it. */
  join(reader: EventReader): Disposable {
    this.#readers.add(reader);
    this.#joined.wake("event");
    return {
      [Symbol.dispose]: () => {
        this.#readers.delete(reader);
        reader.onConnected(false);
      },
    };
  }

  /** Keeps the subscription open until `signal` aborts. Never throws. While it is closed, polls find the flow runs. */
  async run(signal: AbortSignal): Promise<void> {
    const { address, isObserved, log, random } = this.options;
    const types = isObserved ? [...handledStateTypes, ...observedStateTypes] : handledStateTypes;
    while (this.#readers.size === 0 && !signal.aborted) await this.#joined.sleep(Number.POSITIVE_INFINITY, signal);
    let poolIds: string[] = [];
    let opened = bothClocks();
    await keepConnected(
      {
        name: "the events stream (/events/out)",
        fallback: "flow runs are found by polling",
        open: (opening) => {
          poolIds = [...this.#poolIds()];
          opened = bothClocks();
          return subscribeToFlowRuns(address, poolIds, types, opening);
        },
        use: (socket, serving) => this.#serve(socket, new Set(poolIds), opened, serving),
        log,
        random,
      },
      signal,
    );
  }

  async #serve(socket: Socket, poolIds: ReadonlySet<string>, opened: BothClocks, signal: AbortSignal): Promise<void> {
    const served = [...this.#readers].filter((reader) => poolIds.has(reader.workPoolId()));
    for (const reader of served) reader.onConnected(true);
    try {
      await runTogether(signal, [
        (reading) => this.#read(socket, reading),
        (waiting) => reportMissed(served, waiting),
        (watching) => this.#check(poolIds, opened, watching),
      ]);
    } finally {
      for (const reader of served) reader.onConnected(false);
    }
  }

  /** Passes events on until `signal` aborts. Throws SocketError when the server closes the socket. */
  async #read(socket: Socket, signal: AbortSignal): Promise<void> {
    const openedAt = wallClockMs();
    for await (const frame of socket.frames(signal)) {
      const event = parseFlowRunEvent(frame);
      if (!event) continue;
      for (const reader of this.#readers) {
        if (event.workPoolId === undefined || event.workPoolId === reader.workPoolId()) reader.onEvent(event, openedAt);
      }
    }
    if (!signal.aborted) throw new SocketError("closed by the server");
  }

  /**
   * Checks until `signal` aborts whether the subscription still fits. Throws SocketError when it does not. A subscription
   * to a deleted pool receives nothing, even if a pool of the same name is created. A subscription from a time in the
   * future receives nothing until then, as when the wall clock was ahead and is set back.
   */
  async #check(poolIds: ReadonlySet<string>, opened: BothClocks, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      if ([...this.#poolIds()].some((id) => !poolIds.has(id))) {
        await sleep(gatherMs, signal);
        throw new SocketError("a work pool was added or created again", { isOwnEnd: true });
      }
      // A machine that slept looks the same. Its connection may be lost, so a new one is right there too.
      if (wasClockSet(opened)) throw new SocketError("the clock of this machine was set", { isOwnEnd: true });
      await this.#joined.sleep(checkMs, signal);
    }
  }

  #poolIds(): Set<string> {
    return new Set([...this.#readers].map((reader) => reader.workPoolId()));
  }
}

/** Has the readers look for what happened while the socket was closed, and again for what the server missed meanwhile. */
async function reportMissed(readers: readonly EventReader[], signal: AbortSignal): Promise<void> {
  for (const reader of readers) reader.onMissed(false);
  await sleep(setUpMs, signal);
  if (signal.aborted) return;
  for (const reader of readers) reader.onMissed(true);
}

/** Whether the wall clock was set since `opened`, so that it differs from the monotonic clock. */
function wasClockSet(opened: BothClocks): boolean {
  const now = bothClocks();
  return Math.abs(now.wallMs - opened.wallMs - (now.monotonicMs - opened.monotonicMs)) > clockStepMs;
}
