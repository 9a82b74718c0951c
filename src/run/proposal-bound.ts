// How many claims and submissions are proposed at the same time. More than the server can handle at once only wait there:
// a SQLite server writes one after the other, and 16 at once take longer in all than 4.
import { monotonicMs } from "../async/clock.ts";
import { waitUnlessAborted } from "../async/sleep.ts";

const firstLimit = 4;
/** As many as there are connections for proposals (api/agents.ts). */
const mostLimit = 16;
/** How many of the proposals in flight may wait at the server. With fewer, the limit grows; with more, it shrinks. */
const fewestQueued = 2;
const mostQueued = 4;
/** The shortest response time is measured anew after this many responses, because a server can become slower for good. */
const measuredResponses = 200;

/**
 * The limit follows the response times as in TCP Vegas (Brakmo and Peterson, 1995): the shortest one is that of an idle
 * server, and what is longer was spent in a queue. Reports of states are not bound by it and never wait here.
 */
export class ProposalBound {
  readonly #waiting: (() => void)[] = [];
  #limit = firstLimit;
  #inFlight = 0;
  #shortestMs = Number.POSITIVE_INFINITY;
  #responses = 0;

  /** How many proposals may be in flight now, from 1 to 16. */
  get limit(): number {
    return this.#limit;
  }

  /** Calls `send` when there is a place. Throws what `send` throws, and the reason of `signal` if it aborts before that. */
  async run<T>(send: () => Promise<T>, signal: AbortSignal): Promise<T> {
    await this.#enter(signal);
    const sentAt = monotonicMs();
    const wasFull = this.#inFlight >= this.#limit;
    try {
      const result = await send();
      this.#adapt(monotonicMs() - sentAt, wasFull);
      return result;
    } catch (error) {
      this.#limit = Math.max(1, Math.floor(this.#limit / 2));
      throw error;
    } finally {
      this.#inFlight -= 1;
      this.#admit();
    }
  }

  async #enter(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    let admit = (): void => {};
    const admitted = new Promise<void>((resolve) => {
      admit = resolve;
    });
    this.#waiting.push(admit);
    this.#admit();
    await waitUnlessAborted(admitted, signal);
    const index = this.#waiting.indexOf(admit);
    if (index !== -1) this.#waiting.splice(index, 1);
    else if (signal.aborted) this.#inFlight -= 1;
    if (!signal.aborted) return;
    this.#admit();
    signal.throwIfAborted();
  }

  #admit(): void {
    while (this.#inFlight < this.#limit) {
      const next = this.#waiting.shift();
      if (next === undefined) return;
      this.#inFlight += 1;
      next();
    }
  }

  #adapt(ms: number, wasFull: boolean): void {
    this.#responses += 1;
    if (this.#responses % measuredResponses === 0) this.#shortestMs = ms;
    this.#shortestMs = Math.min(this.#shortestMs, ms);
    const queued = this.#limit * (1 - this.#shortestMs / Math.max(ms, 1));
    if (queued > mostQueued) this.#limit = Math.max(1, this.#limit - 1);
    // A limit that was not reached says nothing about a higher one.
    else if (queued < fewestQueued && wasFull) this.#limit = Math.min(mostLimit, this.#limit + 1);
  }
}
