// Whether the polls of a worker are answered, for its log and for `/health`.
import { monotonicMs } from "../async/clock.ts";
import type { Logger } from "../logger.ts";

/** So many intervals without an answer are worth a warning. */
const silentIntervals = 2;
/** Every poll takes its time; with a very short interval that alone is no reason for a warning. */
const shortestSilenceMs = 2_000;

/** Told of each poll and of its end. Warns once when polls fail or are not answered, and says once that this is over. */
export class PollHealth {
  /** The start of the first poll that failed or is overdue since the last one that was answered, on the monotonic clock. */
  failingSince: number | undefined;

  constructor(
    private readonly intervalMs: number,
    private readonly log: Logger,
  ) {}

  /** Runs one poll. Rejects as it does. */
  async watch<T>(poll: () => Promise<T>, signal: AbortSignal): Promise<T> {
    const startedAt = monotonicMs();
    const silenceMs = Math.max(silentIntervals * this.intervalMs, shortestSilenceMs);
    const overdue = setTimeout(() => {
      this.#fail(
        startedAt,
        `The server has not answered a poll for ${Math.round(silenceMs / 1000)} s; lictor waits on. If other requests are answered, one of several servers behind a proxy may hang.`,
      );
    }, silenceMs);
    try {
      const result = await poll();
      this.#succeed();
      return result;
    } catch (error) {
      if (!signal.aborted) this.#fail(startedAt, `A poll failed: ${error instanceof Error ? error.message : error}`);
      throw error;
    } finally {
      clearTimeout(overdue);
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
