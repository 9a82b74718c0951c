// Whether this machine can start programs. A machine that lacks processes, memory, file handles or disk space claims few
// flow runs, so that it does not empty the queue. Other workers can execute them meanwhile.
import { monotonicMs } from "../async/clock.ts";
import type { Logger } from "../logger.ts";
import type { ShortageError } from "../process/system-errors.ts";

/** After a failed start, no flow runs are taken for this time. The pause doubles with each further failure. */
const firstPauseMs = 5_000;
const longestPauseMs = 60_000;
/**
 * A problem counts as over if nothing has failed for this time. While flow runs wait, something is tried at least once per
 * longest pause, so this only happens when nobody knows whether the problem still exists.
 */
const forgetMs = 180_000;

/** A flow run on its way from the poll to its start. Disposing ends it, whatever came of it. */
export interface StartAttempt extends Disposable {
  /** Its program was started. */
  succeeded(): void;
}

/** The health of the machine. All workers of the program share it, because they share the machine. */
export class MachineHealth {
  readonly #warned = new Set<string>();
  #shortage: string | null = null;
  #obstacle: string | null = null;
  #obstacleAt = 0;
  #failedAt = 0;
  #pauseMs = 0;
  #openAt = Number.NEGATIVE_INFINITY;
  #attempts = 0;

  constructor(private readonly log: Logger) {}

  /** Why flow runs cannot be started here, as far as known, in one or two sentences; null if nothing is wrong. */
  get problem(): string | null {
    this.#forgetOld();
    return this.#shortage ?? this.#obstacle;
  }

  /** Whether no flow run may be taken now. After a pause, one flow run at a time is tried until a start succeeds. */
  get isClosed(): boolean {
    this.#forgetOld();
    return this.#shortage !== null && (this.#attempts > 0 || monotonicMs() < this.#openAt);
  }

  /** The milliseconds until the end of the pause; infinite while an attempt may end it, because that wakes the poll loop. */
  get opensInMs(): number {
    const pauseMs = this.#openAt - monotonicMs();
    return pauseMs > 0 ? pauseMs : Number.POSITIVE_INFINITY;
  }

  /** Begins an attempt to start a flow run. */
  attempt(): StartAttempt {
    const begunAt = monotonicMs();
    this.#attempts++;
    let isOver = false;
    return {
      succeeded: () => {
        // A start that began before the last failure does not prove that the shortage has ended.
        if (this.#shortage !== null && begunAt >= this.#failedAt) this.#recover();
      },
      [Symbol.dispose]: () => {
        if (!isOver) this.#attempts--;
        isOver = true;
      },
    };
  }

  /** Records that a program could not be started. Warns once per kind of shortage until a start succeeds. */
  failed({ kind, message }: ShortageError): void {
    this.#forgetOld();
    const now = monotonicMs();
    this.#shortage = message;
    this.#failedAt = now;
    // The failures of attempts at the same time count once.
    if (now >= this.#openAt) {
      this.#pauseMs = Math.min(Math.max(this.#pauseMs * 2, firstPauseMs), longestPauseMs);
      this.#openAt = now + this.#pauseMs;
    }
    if (this.#warned.has(kind)) return;
    this.#warned.add(kind);
    const effect = `Claimed flow runs are given back. New ones are taken at most every ${firstPauseMs / 1000} to ${longestPauseMs / 1000} s.`;
    this.log.warn(`This machine cannot start flow runs: ${message} ${effect}`);
  }

  /** Records why the last flow run was not claimed; null if nothing was in its way. Its finder logs it. */
  foundObstacle(obstacle: string | null): void {
    this.#obstacle = obstacle;
    this.#obstacleAt = monotonicMs();
  }

  #recover(): void {
    this.#reset();
    this.log.info("This machine can start flow runs again.");
  }

  #forgetOld(): void {
    const oldMs = monotonicMs() - forgetMs;
    if (this.#obstacle !== null && this.#obstacleAt < oldMs) this.#obstacle = null;
    if (this.#shortage !== null && this.#failedAt < oldMs && this.#attempts === 0) this.#reset();
  }

  #reset(): void {
    this.#shortage = null;
    this.#pauseMs = 0;
    this.#openAt = Number.NEGATIVE_INFINITY;
    this.#warned.clear();
  }
}
