// What all requests to one API server know of the connection, so that the log says once that the server is away.
import { monotonicMs } from "../../../async/clock.ts";
import type { Logger } from "../../../logger.ts";
import { isOutage, isUnauthorized } from "./cluster-error.ts";

/** A single failure is not worth a warning, because a retry usually succeeds. */
const failuresBeforeWarning = 2;

/** The state of the connection. */
export class Outage {
  #since: number | null = null;
  #failures = 0;
  #isSaid = false;
  #problem: string | null = null;

  constructor(private readonly log: Pick<Logger, "info" | "warn">) {}

  /** Why the API server cannot be used now; null if it answered last. */
  get problem(): string | null {
    return this.#problem;
  }

  /** Whether the log says that the API server is away. */
  get isSaid(): boolean {
    return this.#isSaid;
  }

  /** Notes a failed request. An answer that is final, such as 403, shows that the API server is there. */
  failed(error: unknown): void {
    if (!isOutage(error)) {
      this.answered();
      return;
    }
    this.#failures += 1;
    this.#since ??= monotonicMs();
    this.#problem = (error as Error).message;
    if (this.#isSaid || this.#failures < failuresBeforeWarning) return;
    this.#isSaid = true;
    const end = isUnauthorized(error) ? "accepts them" : "answers again";
    this.log.warn(`${this.#problem} Flow runs stay as they are until it ${end}.`);
  }

  /** Notes that the API server answered. */
  answered(): void {
    const seconds = this.#since === null ? 0 : Math.round((monotonicMs() - this.#since) / 1000);
    if (this.#isSaid) this.log.info(`The Kubernetes API answers again, after ${seconds} s.`);
    this.#since = null;
    this.#failures = 0;
    this.#isSaid = false;
    this.#problem = null;
  }
}
