// What becomes of the lines that a program prints if the worker reports its states: log records, progress, last lines.
import type { LogRecord } from "../api/wire.ts";
import { monotonicMs, wallClockMs } from "../async/clock.ts";
import type { OutputLine } from "../process/output-files.ts";
import { type LeveledText, readLine } from "./line-level.ts";

/** Where the lines of one flow run go. */
export interface LinesOptions {
  readonly flowRunId: string;
  /** Sends a log record; null if log records are not sent to the API. */
  readonly ship: ((record: LogRecord) => void) | null;
  /** Returns the text without secrets. */
  redact(text: string): string;
  readonly progress: Progress;
}

/** Receives the values of lines `::progress 40`, from 0 to 100. */
export interface Progress {
  set(value: number): void;
  /** There are no more values. Returns when the last one was sent, or could not be. Never rejects. */
  end(): Promise<void>;
}

/**
 * A program may print more than a server can store, which is some 2,000 records per second on two cores. So a flow run has an
 * allowance, which fills up again. It has room for the output of most programs, and then for 64 kB per second.
 */
const allowanceBytes = 4_000_000;
const refillBytesPerMs = 64;
const resumeBytes = allowanceBytes / 16;
/** The size of a record besides its message. */
const recordBytes = 300;

/** How many of the last lines a message shows, and how much of them. */
const shownLines = 10;
const shownCharacters = 300;

const progress = /^::progress\s+(\d+(?:\.\d+)?)\s*%?\s*$/;

/** The lines of one flow run. */
export class ProgramLines {
  readonly #last: string[] = [];
  /** The time of the last record in microseconds. No two records have the same, because the server sorts by it. */
  #lastMicros = 0;
  #allowance = allowanceBytes;
  #filledAt = monotonicMs();
  #leftOut = 0;

  constructor(private readonly options: LinesOptions) {}

  /** Takes the next line. */
  add(line: OutputLine): void {
    const [, value] = progress.exec(line.text) ?? [];
    if (value !== undefined) {
      this.options.progress.set(Math.min(100, Number(value)));
      return;
    }
    const { level, text, taskRunId } = readLine(line);
    this.#last.push(text.slice(0, shownCharacters));
    if (this.#last.length > shownLines) this.#last.shift();
    // The server lists records with an empty message, and they say nothing.
    if (text.trim() !== "") this.#ship({ level, text, taskRunId });
  }

  /** Returns the last lines, joined; an empty text if the program printed nothing. */
  get lastLines(): string {
    return this.#last.join("\n").trim();
  }

  /** The program has ended. Returns when all that it printed is queued or sent. Never rejects. */
  async end(): Promise<void> {
    this.#sayLeftOut();
    await this.options.progress.end();
  }

  #ship(line: LeveledText): void {
    if (!this.options.ship) return;
    const now = monotonicMs();
    this.#allowance = Math.min(allowanceBytes, this.#allowance + (now - this.#filledAt) * refillBytesPerMs);
    this.#filledAt = now;
    const bytes = line.text.length + recordBytes;
    // After a pause, many lines are sent before the next one. Otherwise there would be a warning about every second line.
    if (bytes > this.#allowance || (this.#leftOut > 0 && this.#allowance < resumeBytes)) {
      if (this.#leftOut++ === 0)
        this.#warn("The program prints more than the server can store. Lines are left out here.");
      return;
    }
    this.#sayLeftOut();
    this.#allowance -= bytes;
    this.#send(line);
  }

  #sayLeftOut(): void {
    if (this.#leftOut === 0) return;
    this.#warn(`${this.#leftOut} lines were left out here. The worker's own output has them.`);
    this.#leftOut = 0;
  }

  #warn(text: string): void {
    this.#send({ level: 30, text, taskRunId: null });
  }

  #send({ level, text, taskRunId }: LeveledText): void {
    const { ship, flowRunId, redact } = this.options;
    this.#lastMicros = Math.max(wallClockMs() * 1000, this.#lastMicros + 1);
    const time = new Date(Math.floor(this.#lastMicros / 1000)).toISOString();
    ship?.({
      name: "prefect.flow_runs",
      level,
      // A database of PostgreSQL refuses this character.
      message: redact(text).replaceAll("\0", "\ufffd"),
      timestamp: time.replace("Z", `${String(this.#lastMicros % 1000).padStart(3, "0")}Z`),
      flow_run_id: flowRunId,
      task_run_id: taskRunId,
    });
  }
}
