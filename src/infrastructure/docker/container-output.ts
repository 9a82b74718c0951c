// Passes on what a container prints, also after the engine was away, and after another worker read the first part.
import { join } from "node:path";
import { longestTimerMs } from "../../async/clock.ts";
import { sleep } from "../../async/sleep.ts";
import type { OutputLine } from "../../process/output-files.ts";
import type { LinesSettled } from "../../process/stored-position.ts";
import { type LinesUntil, LogPosition, toTimedLine } from "../log-position.ts";
import { inspect } from "./container-details.ts";
import { isEnded } from "./container-watch.ts";
import type { Docker } from "./docker.ts";
import { isMissing } from "./engine/engine-error.ts";
import { outputLines } from "./engine/streams.ts";

/** The container, and where its lines go. */
export interface OutputSource {
  readonly id: string;
  readonly isTerminal: boolean;
  /** Where the position is stored for the next worker; null for nowhere. */
  readonly directory: string | null;
  /** Another worker may have read the first part. Without a stored position, only new lines are passed on. */
  readonly isAdopted: boolean;
  readonly onLine: (line: OutputLine) => void;
  /** Tells when the lines have arrived; null if that is at once. */
  readonly settled: LinesSettled | null;
}

const positionName = "container-output.position";
/** The pause before the output is read again after the engine ended it. */
const reopenMs = 500;
/** The last lines that are kept for the report of a failure. */
const keptLines = 50;

/** The output of one container. */
export class ContainerOutput implements AsyncDisposable {
  readonly #lastLines: string[] = [];
  readonly #over = new AbortController();
  readonly #following: Promise<void>;
  readonly #position: LogPosition;

  constructor(
    private readonly docker: Docker,
    private readonly source: OutputSource,
  ) {
    const { directory } = source;
    this.#position = new LogPosition(directory === null ? null : join(directory, positionName), source.settled);
    this.#following = this.#follow().catch((error: unknown) => {
      if (this.#over.signal.aborted) return;
      docker.services.log.debug({ err: error }, `The output of container ${source.id} cannot be read any more`);
    });
  }

  /** The last lines, at most 50. */
  get lastLines(): readonly string[] {
    return this.#lastLines;
  }

  /** Resolves when the container has ended and all its lines were passed on. Never rejects. */
  get ended(): Promise<void> {
    return this.#following;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#over.abort(new Error("the output is not read any more"));
    await this.#following;
    await this.#position.finish();
  }

  async #follow(): Promise<void> {
    const { docker, source } = this;
    const { signal } = this.#over;
    await (source.isAdopted ? this.#position.restore(() => this.#readLast()) : this.#position.begin());
    while (!signal.aborted) {
      const query = { stdout: true, stderr: true, follow: true, timestamps: true, since: toSince(this.#position.at) };
      const path = `/containers/${source.id}/logs`;
      // The engine begins its response with the first line.
      const call = { query, signal, limitMs: longestTimerMs };
      try {
        const logs = await docker.patience.whileAway(() => docker.engine.open("GET", path, call), signal);
        this.#position.reopen();
        for await (const line of outputLines(logs, { isRaw: source.isTerminal, hasTimes: true })) this.#pass(line);
        const { State } = await docker.patience.whileAway(() => inspect(docker, source.id, signal), signal);
        if (isEnded(State.Status)) return;
      } catch (error) {
        if (isMissing(error)) return;
        if ((error as { status?: number }).status !== undefined) throw error;
        // The connection broke. Only the engine can say whether the container still runs.
      }
      await sleep(reopenMs, signal);
    }
  }

  #pass({ stream, text: whole }: OutputLine): void {
    const text = this.#position.pass(whole);
    if (text === null) return;
    this.#lastLines.push(text);
    if (this.#lastLines.length > keptLines) this.#lastLines.shift();
    this.source.onLine({ stream, text });
    this.#position.note();
  }

  /** Returns the end of the output. */
  async #readLast(): Promise<LinesUntil> {
    const [at = 0n] = await this.#readTimes({ tail: 1 });
    const times = at === 0n ? [] : await this.#readTimes({ since: toSince(at) });
    return { at, count: times.filter((time) => time === at).length };
  }

  /** Returns the times of lines, by the clock of the engine. */
  async #readTimes(selection: { tail: number } | { since: string }): Promise<bigint[]> {
    const { docker, source } = this;
    const { signal } = this.#over;
    const query = { stdout: true, stderr: true, timestamps: true, ...selection };
    const logs = await docker.patience.whileAway(
      () => docker.engine.open("GET", `/containers/${source.id}/logs`, { query, signal }),
      signal,
    );
    const times: bigint[] = [];
    for await (const { text } of outputLines(logs, { isRaw: source.isTerminal, hasTimes: true }))
      times.push(toTimedLine(text).at ?? 0n);
    return times;
  }
}

/** Returns a time as the engine takes it. It sends the lines of this time again. */
function toSince(at: bigint): string {
  const digits = String(at).padStart(10, "0");
  return `${digits.slice(0, -9)}.${digits.slice(-9)}`;
}

/** Returns the last lines of a container whose output was not followed. Throws as `Engine.request` does. */
export async function readLastLines(
  docker: Docker,
  id: string,
  isTerminal: boolean,
  signal: AbortSignal,
): Promise<string[]> {
  const query = { stdout: true, stderr: true, tail: keptLines };
  const logs = await docker.engine.open("GET", `/containers/${id}/logs`, { query, signal });
  const lines: string[] = [];
  for await (const { text } of outputLines(logs, { isRaw: isTerminal, hasTimes: false })) lines.push(text);
  return lines;
}
