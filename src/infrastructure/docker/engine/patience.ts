// Repeats calls while the engine is away. An engine that restarts says nothing about its containers.
import { monotonicMs } from "../../../async/clock.ts";
import { sleep } from "../../../async/sleep.ts";
import type { Logger } from "../../../logger.ts";
import { isAway } from "./engine-error.ts";

/** The pause before a call is repeated. It doubles up to the longest one. */
const firstPauseMs = 200;
const longestPauseMs = 5_000;

/** The state of the connection that all calls share, so that the log says once that the engine is away. */
export class Patience {
  #awaySince: number | null = null;
  #problem: string | null = null;

  constructor(private readonly log: Logger) {}

  /** Why the engine cannot be used now; null if it answered last. */
  get problem(): string | null {
    return this.#problem;
  }

  /** Repeats `act` while the engine is away, until `signal` aborts. Throws other errors, and the reason of the signal. */
  async whileAway<T>(act: () => Promise<T>, signal: AbortSignal): Promise<T> {
    for (let pauseMs = firstPauseMs; ; pauseMs = Math.min(pauseMs * 2, longestPauseMs)) {
      try {
        return await this.once(act);
      } catch (error) {
        signal.throwIfAborted();
        if (!isAway(error)) throw error;
      }
      await sleep(pauseMs, signal);
      signal.throwIfAborted();
    }
  }

  /** Calls `act` once and notes whether the engine answered. Throws its error. */
  async once<T>(act: () => Promise<T>): Promise<T> {
    try {
      const result = await act();
      this.answered();
      return result;
    } catch (error) {
      if (isAway(error)) this.#away(error as Error);
      throw error;
    }
  }

  /** Notes that the engine answered. */
  answered(): void {
    if (this.#awaySince === null) return;
    const seconds = Math.round((monotonicMs() - this.#awaySince) / 1000);
    this.#awaySince = null;
    this.#problem = null;
    this.log.info(`The Docker engine answers again, after ${seconds} s.`);
  }

  #away({ message }: Error): void {
    this.#problem = message;
    if (this.#awaySince !== null) return;
    this.#awaySince = monotonicMs();
    this.log.warn(
      `${message} Flow runs stay as they are until it answers again, and new ones are left to other workers.`,
    );
  }
}
