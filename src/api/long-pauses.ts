// Pauses that the server asks for and that a user should know of.
import { monotonicMs } from "../async/clock.ts";
import type { Logger } from "../logger.ts";

/** Shorter ones are the daily business of a rate limit. */
const shortestMs = 30_000;

/** Warns of long pauses, once per pause, however many requests are to wait. */
export class LongPauses {
  #until = Number.NEGATIVE_INFINITY;

  constructor(private readonly log: Logger) {}

  /** The server asked `request` to wait `askedMs`, and it will be repeated in `waitMs`. */
  warn(request: string, askedMs: number | undefined, waitMs: number): void {
    if (askedMs === undefined || askedMs < shortestMs || monotonicMs() < this.#until) return;
    this.#until = monotonicMs() + waitMs;
    const [asked, wait] = [askedMs, waitMs].map((ms) => Math.round(ms / 1000));
    this.log.warn(
      `${request}: the server asks for a pause of ${asked} s (Retry-After). lictor asks again in ${wait} s.`,
    );
  }
}
