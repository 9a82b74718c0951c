// How a watch is doing: whether it works, since when not, and what the log was told of it.
import { monotonicMs } from "../../../async/clock.ts";
import type { Logger } from "../../../logger.ts";
import { isExpired, isOutage } from "./cluster-error.ts";
import type { Outage } from "./outage.ts";

/** Fewer transient failures in a row are normal while an API server is replaced. */
const failuresBeforeWarning = 5;

/** The state of one watch. The outage of a whole cluster is said by its client. */
export class WatchHealth {
  #lastSignAt: number | null = null;
  #problem: string | null = null;
  #problemSince: number | null = null;
  #isSaid = false;

  constructor(
    /** What is watched, such as `pods in namespace 'flows'`. */
    private readonly subject: string,
    private readonly outage: Outage,
    private readonly log: Logger,
  ) {}

  /** Why changes are not seen now; null if they are. */
  get problem(): string | null {
    return this.#problem;
  }

  /** The time since the last sign of life in ms. Null before the first one. */
  get ageMs(): number | null {
    return this.#lastSignAt === null ? null : monotonicMs() - this.#lastSignAt;
  }

  /** Notes a sign of life. */
  sign(): void {
    this.#lastSignAt = monotonicMs();
  }

  /** Notes that the watch works. The log is told if it was told that it did not. */
  works(): void {
    this.sign();
    if (this.#problemSince === null) return;
    const seconds = Math.round((monotonicMs() - this.#problemSince) / 1000);
    if (this.#isSaid) this.log.info(`Changes of ${this.subject} are seen again, after ${seconds} s.`);
    this.#problem = null;
    this.#problemSince = null;
    this.#isSaid = false;
  }

  /** Notes a failure, which is the one of this number in a row. The log is told once. */
  failed(error: unknown, number: number): void {
    this.#problem = error instanceof Error ? error.message : String(error);
    this.#problemSince ??= monotonicMs();
    const mayEnd = isOutage(error) || isExpired(error);
    if (this.#isSaid || (mayEnd && (number < failuresBeforeWarning || this.outage.isSaid))) return;
    this.#isSaid = true;
    this.log.warn(`${this.#problem} Until then, changes of ${this.subject} are not seen.`);
  }
}
