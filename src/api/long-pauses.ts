// Warnings about long pauses that the server asks for (`Retry-After`).
import { monotonicMs } from "../async/clock.ts";
import type { Logger } from "../logger.ts";

/** Shorter pauses are normal for a rate limit. */
const minReportedMs = 30_000;

/** Warns once per long pause, however many requests have to wait. */
export class LongPauses {
  #until = Number.NEGATIVE_INFINITY;

  constructor(private readonly log: Logger) {}

  /** Call when the server asked `request` to wait `askedMs`, and the retry follows in `waitMs`. */
  warn(request: string, askedMs: number | undefined, waitMs: number): void {
    if (askedMs === undefined || askedMs < minReportedMs || monotonicMs() < this.#until) return;
    this.#until = monotonicMs() + waitMs;
    const [asked, wait] = [askedMs, waitMs].map((ms) => Math.round(ms / 1000));
    this.log.warn(
      `${request}: the server asks for a pause of ${asked} s (Retry-After). lictor asks again in ${wait} s.`,
    );
  }
}
