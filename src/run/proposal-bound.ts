// How many claims and submissions are proposed at the same time. More than the server can handle at once only wait there:
// a SQLite server writes one after the other, and 16 at once take longer in all than 4.
import { monotonicMs } from "../async/clock.ts";
import { Places } from "../async/places.ts";

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
  readonly #places = new Places(() => this.#limit);
  #limit = firstLimit;
  #shortestMs = Number.POSITIVE_INFINITY;
  #responses = 0;

  /** How many proposals may be in flight now, from 1 to 16. */
  get limit(): number {
    return this.#limit;
  }

  /** Calls `send` when there is a place. Throws what `send` throws, and the reason of `signal` if it aborts before that. */
  async run<T>(send: () => Promise<T>, signal: AbortSignal): Promise<T> {
    signal.throwIfAborted();
    const hasPlace = await this.#places.enter(signal);
    if (signal.aborted && hasPlace) this.#places.leave();
    signal.throwIfAborted();
    const sentAt = monotonicMs();
    const wasFull = this.#places.taken >= this.#limit;
    try {
      const result = await send();
      this.#adapt(monotonicMs() - sentAt, wasFull);
      return result;
    } catch (error) {
      this.#limit = Math.max(1, Math.floor(this.#limit / 2));
      throw error;
    } finally {
      this.#places.leave();
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
