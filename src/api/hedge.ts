// Repeats a read that takes unusually long on a new connection, while the first one still waits: behind one address there
// may be several servers of which one hangs.
import { monotonicMs } from "../async/clock.ts";
import { sleep } from "../async/sleep.ts";
import type { Agents, Lane } from "./agents.ts";
import type { Tried } from "./attempt.ts";

/** How many of the usual times a read may take before it is repeated. */
const patienceFactor = 3;
/** The usual time is the longest of so many reads. */
const remembered = 10;
/** A repetition costs the server a read, so that a short stall should not cause one. */
const shortestPatienceMs = 1_000;
/** The usual time of a server that has not answered yet. */
const assumedMs = 1_000;

/** Sends one attempt in a lane; `signal` ends it. */
type Send = (lane: Lane, signal: AbortSignal) => Promise<Tried>;

/** The reads of one loop, one at a time. For requests that may be made twice without harm. */
export class Hedge {
  /** Reads that were repeated because no answer came. */
  repeatedCount = 0;
  readonly #usualMs: number[] = [];
  #lane: "poll" | "poll-again" = "poll";

  /**
   * Returns the attempt that has a response first, else the one that failed last. `limitMs` is the time limit of an attempt.
   * Rejects when `send` does.
   */
  async attempt(send: Send, { agents, signal, limitMs }: HedgeOptions): Promise<Tried> {
    const first = this.#start(send, this.#lane, signal);
    const patience = new AbortController();
    await Promise.race([first.tried, sleep(this.#patienceMs(limitMs), patience.signal)]).finally(() =>
      patience.abort(),
    );
    if (first.isOver()) return await first.tried;
    this.repeatedCount++;
    const other = this.#lane === "poll" ? "poll-again" : "poll";
    // Its connections may lead to the server that hangs.
    agents.closeLane(other);
    const second = this.#start(send, other, signal);
    try {
      const winner = await Promise.any([first, second].map(answered));
      this.#lane = winner.lane;
      return await winner.tried;
    } catch {
      return await second.tried;
    } finally {
      first.end.abort();
      second.end.abort();
    }
  }

  #start(send: Send, lane: "poll" | "poll-again", signal: AbortSignal) {
    const end = new AbortController();
    const startedAt = monotonicMs();
    let isOver = false;
    const tried = send(lane, AbortSignal.any([signal, end.signal])).finally(() => {
      isOver = true;
    });
    tried.then(
      (result) => {
        if ("response" in result) this.#remember(monotonicMs() - startedAt);
      },
      // The loser is aborted; nobody waits for it.
      () => undefined,
    );
    return { lane, tried, end, isOver: () => isOver };
  }

  #remember(ms: number): void {
    this.#usualMs.push(ms);
    if (this.#usualMs.length > remembered) this.#usualMs.shift();
  }

  #patienceMs(limitMs: number): number {
    const usualMs = this.#usualMs.length === 0 ? assumedMs : Math.max(...this.#usualMs);
    return Math.min(Math.max(usualMs * patienceFactor, shortestPatienceMs), limitMs / 2);
  }
}

/** `limitMs` is the time limit of one attempt: a repetition needs a part of it. */
export interface HedgeOptions {
  agents: Agents;
  signal: AbortSignal;
  limitMs: number;
}

/** Resolves to the started attempt once it has a response; rejects when it comes to nothing. */
async function answered<Started extends { tried: Promise<Tried> }>(started: Started): Promise<Started> {
  const result = await started.tried;
  if (!("response" in result)) throw result.error;
  return started;
}
