// The outage of the API, as one worker sees it. The worker's loops report to it. It says once that it has begun, and once
// that it is over.
import { isTransient } from "../api/errors.ts";
import { monotonicMs } from "../async/clock.ts";
import type { Wake } from "../async/wake.ts";
import type { Logger } from "../logger.ts";

/** The loops that report. The name is what the loop sends. */
export type LoopName = "polls" | "heartbeats";

/** A long outage is said again after this time, because the first message may be lost by then. */
const reminderMs = 3_600_000;

/** One kind is an API that does not respond properly. The other is one that refuses what it accepted before. */
type Kind = "no response" | "refusal";

/** The outage lasts while at least one loop reports failures. */
export class Outage {
  /** When the first failure of each failing loop began, on the monotonic clock. */
  readonly #since = new Map<LoopName, number>();
  readonly #saidAt = new Map<Kind, number>();

  /** `wakes` end the waits of the loops. */
  constructor(
    private readonly workPoolName: string,
    private readonly wakes: Readonly<Record<LoopName, Wake>>,
    private readonly log: Logger,
  ) {}

  /** When the outage began, on the monotonic clock. Undefined if there is none. */
  get since(): number | undefined {
    return this.#since.size === 0 ? undefined : Math.min(...this.#since.values());
  }

  /** Call after each failure of a loop that failed `failures` times in a row since `since`. */
  report(loop: LoopName, error: Error, { failures, since }: { failures: number; since: number }): void {
    if (!this.#since.has(loop)) this.#since.set(loop, since);
    const kind: Kind = isTransient(error) ? "no response" : "refusal";
    const saidAt = this.#saidAt.get(kind);
    if (saidAt !== undefined && monotonicMs() - saidAt < reminderMs) return;
    this.#saidAt.set(kind, monotonicMs());
    const seconds = Math.round((monotonicMs() - since) / 1000);
    const what = `${loop} of work pool '${this.workPoolName}'`;
    const failed =
      kind === "refusal"
        ? `The API refuses ${what}, although it accepted them before`
        : `The API is away: ${failures} ${what} have failed in a row, within ${seconds} s`;
    this.log.warn(`${failed}. lictor keeps trying, about once a minute. ${error.message}`);
  }

  /** Call when a loop succeeds after failures. The other loops try again at once. */
  end(loop: LoopName): void {
    const { since } = this;
    if (since === undefined || !this.#since.delete(loop)) return;
    this.retryNow();
    if (this.#since.size > 0) return;
    this.#saidAt.clear();
    this.log.info(`The API responds again, after ${Math.round((monotonicMs() - since) / 1000)} s.`);
  }

  /** Call when a loop has returned. A loop that does not run reports nothing any more. */
  forget(loop: LoopName): void {
    this.#since.delete(loop);
  }

  /** Lets the failing loops try again at once, because the server may be back. */
  retryNow(): void {
    for (const loop of this.#since.keys()) this.wakes[loop].wake("connected");
  }
}
