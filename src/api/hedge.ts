// Hedged reads: an unusually slow read is sent a second time on a new connection, while the first one still waits. This
// helps if several servers share one address and one of them hangs.
import { monotonicMs } from "../async/clock.ts";
import { LinkedController } from "../async/linked-controller.ts";
import { sleep } from "../async/sleep.ts";
import type { Agents, Lane } from "./agents.ts";
import type { AttemptResult } from "./attempt.ts";

/** A read is repeated after this many times the usual duration. */
const waitFactor = 3;
/** The usual duration is the longest of this many reads. */
const sampleCount = 10;
/** A short stall is not worth a second read. */
const minWaitMs = 1_000;
/** The usual duration before the server has responded once. */
const assumedDurationMs = 1_000;

/** Sends one attempt in a lane. An abort of `signal` ends it. */
type Send = (lane: Lane, signal: AbortSignal) => Promise<AttemptResult>;

/** The reads of one loop, one at a time. Only for requests that may be sent twice without harm. */
export class Hedge {
  /** The number of reads that were repeated because no response came in time. */
  repeatedCount = 0;
  readonly #durationsMs: number[] = [];
  #lane: Lane;

  /** `lanes` are the lane of the first read, and the lane in which a slow read is repeated. */
  constructor(private readonly lanes: readonly [Lane, Lane]) {
    this.#lane = lanes[0];
  }

  /**
   * Returns the result of the first attempt that gets a response. Returns the result of the second attempt if neither
   * gets one. Rejects if `send` rejects.
   */
  async attempt(send: Send, { agents, signal, limitMs }: HedgeOptions): Promise<AttemptResult> {
    const first = this.#start(send, this.#lane, signal);
    const waitEnd = new AbortController();
    await Promise.race([first.result, sleep(this.#waitMs(limitMs), waitEnd.signal)]).finally(() => waitEnd.abort());
    if (first.hasEnded()) return await first.result;
    this.repeatedCount++;
    const other = this.#lane === this.lanes[0] ? this.lanes[1] : this.lanes[0];
    // The open connections of that lane may lead to the hanging server.
    agents.closeLane(other);
    const second = this.#start(send, other, signal);
    try {
      const winner = await Promise.any([first, second].map(requireResponse));
      this.#lane = winner.lane;
      return await winner.result;
    } catch {
      return await second.result;
    } finally {
      first.end.abort();
      second.end.abort();
    }
  }

  #start(send: Send, lane: Lane, signal: AbortSignal) {
    const end = new LinkedController(signal);
    const startedAt = monotonicMs();
    let hasEnded = false;
    const result = send(lane, end.signal).finally(() => {
      end[Symbol.dispose]();
      hasEnded = true;
    });
    result.then(
      (attempt) => {
        if ("response" in attempt) this.#recordDuration(monotonicMs() - startedAt);
      },
      // The slower attempt is aborted, and nothing waits for it.
      () => undefined,
    );
    return { lane, result, end, hasEnded: () => hasEnded };
  }

  #recordDuration(ms: number): void {
    this.#durationsMs.push(ms);
    if (this.#durationsMs.length > sampleCount) this.#durationsMs.shift();
  }

  #waitMs(limitMs: number): number {
    const usualMs = this.#durationsMs.length === 0 ? assumedDurationMs : Math.max(...this.#durationsMs);
    return Math.min(Math.max(usualMs * waitFactor, minWaitMs), limitMs / 2);
  }
}

/** `limitMs` is the time limit of one attempt. The second attempt starts after half of it at the latest. */
export interface HedgeOptions {
  agents: Agents;
  signal: AbortSignal;
  limitMs: number;
}

/** Resolves to the attempt when it has a response. Rejects if it gets none. */
async function requireResponse<Started extends { result: Promise<AttemptResult> }>(started: Started): Promise<Started> {
  const result = await started.result;
  if (!("response" in result)) throw result.error;
  return started;
}
