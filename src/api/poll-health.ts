// Whether the polls of a worker get responses, for its log and for `/health`.
import { monotonicMs, startTimer } from "../async/clock.ts";
import type { Logger } from "../logger.ts";

/** A warning follows after this many intervals without a response. */
const silentIntervals = 2;
/** With a very short interval, a warning follows later, because every poll takes some time. */
const minSilenceMs = 2_000;

/**
 * Watches each poll. Warns once when a poll gets no response, and says once when polls are answered again. A poll that
 * fails is no warning, because the worker says that there is an outage.
 */
export class PollHealth {
  /** When the first poll began that failed or is overdue, on the monotonic clock. Undefined after a success. */
  failingSince: number | undefined;
  #hasWarned = false;

  constructor(
    private readonly intervalMs: number,
    private readonly log: Logger,
  ) {}

  /** Runs one poll and returns its result. Rejects if the poll rejects. */
  async watch<T>(poll: () => Promise<T>, signal: AbortSignal): Promise<T> {
    const startedAt = monotonicMs();
    const silenceMs = Math.max(silentIntervals * this.intervalMs, minSilenceMs);
    const cancelTimer = startTimer(silenceMs, () => {
      this.failingSince ??= startedAt;
      this.log[this.#hasWarned ? "debug" : "warn"](
        `The server has not answered a poll for ${Math.round(silenceMs / 1000)} s; lictor waits on. If other requests are answered, one of several servers behind a proxy may hang.`,
      );
      this.#hasWarned = true;
    });
    try {
      const result = await poll();
      this.#succeed();
      return result;
    } catch (error) {
      if (!signal.aborted) {
        this.failingSince ??= startedAt;
        this.log.debug({ err: error }, "a poll failed");
      }
      throw error;
    } finally {
      cancelTimer();
    }
  }

  #succeed(): void {
    if (this.failingSince === undefined) return;
    const seconds = Math.round((monotonicMs() - this.failingSince) / 1000);
    this.failingSince = undefined;
    this.log[this.#hasWarned ? "info" : "debug"](`Polls are answered again after ${seconds} s.`);
    this.#hasWarned = false;
  }
}
