// Sends log records to the API in batches, by time and size. Nothing waits for it, and what cannot be sent is counted.
// Source: prefect logging/handlers.py APILogWorker, APILogHandler, WorkerAPILogHandler.
import { aborted } from "../async/sleep.ts";
import { Wake } from "../async/wake.ts";
import type { Api } from "./api.ts";
import { hasStatus, isTransient } from "./errors.ts";
import type { LogRecord } from "./wire.ts";

/** Sizes in bytes of compact UTF-8 JSON. */
export interface LogShipperOptions {
  batchIntervalMs: number;
  /** The largest body of a request, unless a single record is larger. */
  batchBytes: number;
  maxLogBytes: number;
  /** How much may wait while the server is away; beyond it the oldest records are dropped. */
  maxWaitingBytes: number;
}

/**
 * The size of a batch where the user sets none: nginx takes bodies of 1 MiB by default, and refuses the 4 MB that the setting
 * would allow.
 */
export const safeBatchBytes = 1_000_000;

/** A record that the server fails on is given up after so many attempts, if the server has taken others meanwhile. */
const attemptsOfOne = 3;

const truncationMark = "... [truncated]";

interface Waiting {
  record: LogRecord;
  /** With the comma or bracket that follows it in the request. */
  bytes: number;
  /** How often the server failed on this record alone, and how many batches it had taken by the first time. */
  failures: number;
  takenBefore: number;
}

/** Collects records and sends them every interval, or as soon as there is a batch of them. */
export class LogShipper {
  readonly #waiting: Waiting[] = [];
  #waitingBytes = 0;
  #dropped = 0;
  #isAway = false;
  /** Batches that the server has taken. */
  #taken = 0;
  /** Smaller than the option once the server, or a proxy, has refused a larger one. */
  #batchBytes: number;
  /** Halved with each failure of the server, so that a record it fails on is found. */
  #batchRecords = Number.POSITIVE_INFINITY;
  readonly #full = new Wake();
  /** The sending that goes on, if any: two at once would send the same records. */
  #sending: Promise<void> | undefined;

  constructor(
    private readonly api: Api,
    private readonly options: LogShipperOptions,
    /** Says what could not be sent; must not come back here as a record. */
    private readonly complain: (message: string) => void,
  ) {
    this.#batchBytes = options.batchBytes;
  }

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
    if (this.#waitingBytes >= this.#batchBytes / 2 && !this.#isAway) this.#full.wake("full");
  }

  /** Sends until `signal` aborts. Never throws. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await this.#full.sleep(this.options.batchIntervalMs, signal);
      if (!signal.aborted) await this.flush(signal);
    }
  }

  /**
   * Sends what waits until `signal` aborts or the server turns out to be away: then the records keep waiting. Those that the
   * server declines are lost. Never throws.
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
        this.#noteTaken();
      } catch (error) {
        if (signal.aborted) return;
        if (hasStatus(error, 413) && batch.length > 1) {
          this.#shrink(batch);
          continue;
        }
        if (isKept(error) && !this.#isHopeless(batch, error)) return this.#noteAway(error as Error);
        this.complain(`${batch.length} log records could not be sent to the API: ${(error as Error).message}`);
      }
      // Meanwhile the oldest may have been dropped: the batch ends where its last record is, if that is still there.
      this.#remove(this.#waiting.indexOf(batch.at(-1) as Waiting) + 1);
    }
  }

  /** The body was too large for the server, or for a proxy before it, which will be the same for the next one. */
  #shrink(batch: readonly Waiting[]): void {
    const bytes = bytesOf(batch);
    this.#batchBytes = Math.floor(bytes / 2);
    this.complain(
      `The API, or a proxy before it, does not take ${bytes} bytes of log records at once (413); lictor sends ${this.#batchBytes} at most.`,
    );
  }

  /**
   * True for a single record that the server fails on while it takes others. Until that is known, the next attempt is made with
   * fewer records, and a single one lets the others go first.
   */
  #isHopeless(batch: readonly Waiting[], error: unknown): boolean {
    if (!hasStatus(error, 500)) return false;
    this.#batchRecords = Math.max(Math.floor(batch.length / 2), 1);
    const [suspect] = batch;
    if (batch.length > 1 || suspect === undefined) return false;
    if (suspect.failures++ === 0) suspect.takenBefore = this.#taken;
    if (suspect.failures >= attemptsOfOne && this.#taken > suspect.takenBefore) return true;
    // While it was sent, it may have been dropped as the oldest.
    if (this.#waiting[0] === suspect) this.#waiting.push(...this.#waiting.splice(0, 1));
    return false;
  }

  #remove(count: number): void {
    for (const { bytes } of this.#waiting.splice(0, count)) this.#waitingBytes -= bytes;
  }

  #noteAway(error: Error): void {
    if (!this.#isAway) this.complain(`Log records wait because the API does not take them: ${error.message}`);
    this.#isAway = true;
  }

  #noteTaken(): void {
    this.#taken++;
    this.#batchRecords *= 2;
    this.#isAway = false;
    if (this.#dropped > 0) this.complain(`${this.#dropped} log records were dropped while the API was away.`);
    this.#dropped = 0;
  }

  /** As many of the oldest records as fit into a batch, at least one. */
  #nextBatch(): Waiting[] {
    let bytes = 1;
    const end = this.#waiting.findIndex((waiting, index) => {
      bytes += waiting.bytes;
      return index > 0 && (bytes > this.#batchBytes || index >= this.#batchRecords);
    });
    return this.#waiting.slice(0, end === -1 ? undefined : end);
  }
}

/** True for a failure that says nothing about the records: the server is away, fails, or refuses the credentials. */
function isKept(error: unknown): boolean {
  return isTransient(error) || [401, 403, 408, 429].some((status) => hasStatus(error, status));
}

/** The size of the request's body. */
function bytesOf(batch: readonly Waiting[]): number {
  return batch.reduce((sum, { bytes }) => sum + bytes, 1);
}

function toWaiting(record: LogRecord): Waiting {
  return { record, bytes: sizeOf(record) + 1, failures: 0, takenBefore: 0 };
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
