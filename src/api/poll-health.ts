// Whether the polls of a worker get responses, for its log and for `/health`.
import { monotonicMs, startTimer } from "../async/clock.ts";
import type { Logger } from "../logger.ts";

/** A warning follows after this many intervals without a response. */
const silentIntervals = 2;
/** With a very short interval, a warning follows later, because every poll takes some time. */
const minSilenceMs = 2_000;

/** Watches each poll. Warns once when polls fail or get no response, and reports once when they succeed again. */
export class PollHealth {
  /** When the first poll began that failed or is overdue, on the monotonic clock. Undefined after a success. */
  failingSince: number | undefined;

  constructor(
    private readonly intervalMs: number,
    private readonly log: Logger,
  ) {}

  /** Runs one poll and returns its result. Rejects if the poll rejects. */
  async watch<T>(poll: () => Promise<T>, signal: AbortSignal): Promise<T> {
    const startedAt = monotonicMs();
    const silenceMs = Math.max(silentIntervals * this.intervalMs, minSilenceMs);
    const cancelTimer = startTimer(silenceMs, () => {
      this.#fail(
        startedAt,
        `The server has not answered a poll for ${Math.round(silenceMs / 1000)} s; lictor waits on. If other requests are answered, one of several servers behind a proxy may hang.`,
      );
    });
    try {
      const result = await poll();
      this.#succeed();
      return result;
    } catch (error) {
      if (!signal.aborted) this.#fail(startedAt, `A poll failed: ${error instanceof Error ? error.message : error}`);
      throw error;
    } finally {
      cancelTimer();
    }
  }

  #fail(startedAt: number, message: string): void {
    if (this.failingSince === undefined) this.log.warn(message);
    else this.log.debug(message);
    this.failingSince ??= startedAt;
  }

  #succeed(): void {
    if (this.failingSince === undefined) return;
    const seconds = Math.round((monotonicMs() - this.failingSince) / 1000);
    this.failingSince = undefined;
    this.log.info(`Polls are answered again after ${seconds} s.`);
  }
}
