// Log records to the API: in batches by time and size, best effort, never in anybody's way.
// Source: prefect logging/handlers.py APILogWorker, APILogHandler, WorkerAPILogHandler.
import { aborted } from "../async/sleep.ts";
import { Wake } from "../async/wake.ts";
import type { ApiClient } from "./client.ts";
import { hasStatus, isTransient } from "./errors.ts";
import type { LogRecord } from "./wire.ts";

/** Sizes in bytes of compact UTF-8 JSON. */
export interface LogShipperOptions {
  batchIntervalMs: number;
  /** What the body of one request stays within. */
  batchBytes: number;
  maxLogBytes: number;
  /** What may wait for a server that is away; beyond it the oldest records are dropped. */
  maxWaitingBytes: number;
}

const truncationMark = "... [truncated]";

interface Waiting {
  record: LogRecord;
  /** With the comma or bracket that follows it in the request. */
  bytes: number;
}

/** Collects records and sends them every interval, or as soon as there is a batch of them. */
export class LogShipper {
  readonly #waiting: Waiting[] = [];
  #waitingBytes = 0;
  #dropped = 0;
  #isAway = false;
  readonly #full = new Wake();
  /** The sending that goes on, if any: two at once would send the same records. */
  #sending: Promise<void> | undefined;

  constructor(
    private readonly api: ApiClient,
    private readonly options: LogShipperOptions,
    /** Says what could not be sent; must not come back here as a record. */
    private readonly complain: (message: string) => void,
  ) {}

  /** Takes a record. One that is too long is cut and marked if it is about a flow run, else lost. */
  ship(record: LogRecord): void {
    const { maxLogBytes, maxWaitingBytes } = this.options;
    let waiting = toWaiting(record);
    if (waiting.bytes - 1 > maxLogBytes) {
      if (record.flow_run_id === null) {
        this.complain(
          `A log record of ${waiting.bytes - 1} bytes was not sent to the API, which takes ${maxLogBytes}.`,
        );
        return;
      }
      waiting = toWaiting(truncate(record, maxLogBytes));
    }
    this.#waiting.push(waiting);
    this.#waitingBytes += waiting.bytes;
    while (this.#waitingBytes > maxWaitingBytes && this.#waiting.length > 1) {
      this.#remove(1);
      if (this.#dropped++ === 0) this.complain("Too many log records wait for the API; the oldest are dropped.");
    }
    if (this.#waitingBytes >= this.#room() && !this.#isAway) this.#full.wake("full");
  }

  /** Sends until `signal` aborts. Never throws. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await this.#full.sleep(this.options.batchIntervalMs, signal);
      if (!signal.aborted) await this.flush(signal);
    }
  }

  /**
   * Sends what waits, until `signal` aborts or the server turns out to be away: then it keeps waiting. What the server
   * refuses is lost. Never throws.
   */
  async flush(signal: AbortSignal): Promise<void> {
    if (this.#sending !== undefined) await Promise.race([this.#sending, aborted(signal)]);
    if (signal.aborted) return;
    this.#sending = this.#send(signal).finally(() => {
      this.#sending = undefined;
    });
    await this.#sending;
  }

  /** Sends what waits for the last time and says what could not be sent until `deadline` aborts. Never throws. */
  async finish(deadline: AbortSignal): Promise<void> {
    await this.flush(deadline);
    const lost = this.#waiting.length + this.#dropped;
    if (lost > 0) this.complain(`${lost} log records were not sent to the API, which did not take them in time.`);
  }

  async #send(signal: AbortSignal): Promise<void> {
    while (this.#waiting.length > 0 && !signal.aborted) {
      const batch = this.#nextBatch();
      const body = batch.map(({ record }) => ({ ...record }));
      try {
        await this.api.request("POST", "/logs/", { body, signal });
        this.#noteBack();
      } catch (error) {
        if (signal.aborted) return;
        // A server that fails on these very records would fail on them for ever.
        if (isTransient(error) && !hasStatus(error, 500)) return this.#noteAway(error as Error);
        this.complain(`${batch.length} log records could not be sent to the API: ${(error as Error).message}`);
      }
      // Meanwhile the oldest may have been dropped: the batch ends where its last record is, if that is still there.
      this.#remove(this.#waiting.indexOf(batch.at(-1) as Waiting) + 1);
    }
  }

  #remove(count: number): void {
    for (const { bytes } of this.#waiting.splice(0, count)) this.#waitingBytes -= bytes;
  }

  #noteAway(error: Error): void {
    if (!this.#isAway) this.complain(`Log records wait, since the API does not take them: ${error.message}`);
    this.#isAway = true;
  }

  #noteBack(): void {
    this.#isAway = false;
    if (this.#dropped > 0) this.complain(`${this.#dropped} log records were dropped while the API was away.`);
    this.#dropped = 0;
  }

  /** What a batch is filled up to: one more of the largest then still fits in. */
  #room(): number {
    return Math.max(this.options.batchBytes - this.options.maxLogBytes - 1, 1);
  }

  /** Records until there are enough of them, at least one. */
  #nextBatch(): Waiting[] {
    let bytes = 0;
    const end = this.#waiting.findIndex((waiting) => {
      bytes += waiting.bytes;
      return bytes >= this.#room();
    });
    return this.#waiting.slice(0, end === -1 ? undefined : end + 1);
  }
}

function toWaiting(record: LogRecord): Waiting {
  return { record, bytes: sizeOf(record) + 1 };
}

/** The longest beginning of the message, in whole characters, with which the record and a mark fit into `maxBytes`. */
function truncate(record: LogRecord, maxBytes: number): LogRecord {
  const cutTo = (length: number): LogRecord => ({
    ...record,
    message: record.message.slice(0, length).replace(/[\uD800-\uDBFF]$/, "") + truncationMark,
  });
  // By halving, since a character takes one to six bytes of JSON.
  let fits = 0;
  for (let tooLong = record.message.length; tooLong - fits > 1; ) {
    const middle = Math.floor((fits + tooLong) / 2);
    if (sizeOf(cutTo(middle)) <= maxBytes) fits = middle;
    else tooLong = middle;
  }
  return cutTo(fits);
}

function sizeOf(record: LogRecord): number {
  return Buffer.byteLength(JSON.stringify(record));
}
