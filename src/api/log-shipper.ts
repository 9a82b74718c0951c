// Sends log records to the API in batches, at intervals or by size. Nothing waits for it. It counts records that are
// lost.
// Source: prefect logging/handlers.py APILogWorker, APILogHandler, WorkerAPILogHandler.
import { monotonicMs, startTimer } from "../async/clock.ts";
import { sleep, waitUnlessAborted } from "../async/sleep.ts";
import { Wake } from "../async/wake.ts";
import type { Api } from "./api.ts";
import { hasStatus, isTransient } from "./errors.ts";
import { bytesOf, type QueuedRecord, toQueuedRecord, truncate } from "./queued-record.ts";
import type { LogRecord } from "./wire.ts";

/** The options. Sizes are in bytes of compact UTF-8 JSON. */
export interface LogShipperOptions {
  batchIntervalMs: number;
  /** The largest body of a request, unless a single record is larger. */
  batchBytes: number;
  maxLogBytes: number;
  /** The size of the queue during an outage. Beyond it, the oldest records are dropped. */
  maxQueueBytes: number;
}

/**
 * The size of a batch if the user has not set one. By default, nginx accepts bodies of 1 MiB and refuses the 4 MB that
 * are the default of the setting.
 */
export const safeBatchBytes = 1_000_000;

/**
 * The most records in a request. A server needs about half a millisecond for each, and answers nothing else meanwhile.
 */
const maxBatchRecords = 1_000;

/** How soon records are sent that somebody waits for. Several who wait share a request. */
const soonMs = 250;

/** A record is dropped after this many failures alone in a batch, if other batches have succeeded meanwhile. */
const maxAttemptsAlone = 3;

/** Queues records and sends them at intervals, or as soon as half a batch is queued. */
export class LogShipper {
  readonly #queue: QueuedRecord[] = [];
  #queueBytes = 0;
  #dropped = 0;
  #hasOutage = false;
  /** The number of batches that the server has accepted. */
  #sentBatches = 0;
  /** Smaller than the option after the server, or a proxy, has refused a larger batch. */
  #batchBytes: number;
  /** Halved with each status 500, to find the record that causes it. */
  #batchRecords = maxBatchRecords;
  readonly #wake = new Wake();
  /** The current sending, because two at once would send the same records. */
  #sending: Promise<void> | undefined;
  /** How many records were queued and removed so far, and who waits for the removal of how many. */
  #added = 0;
  #removed = 0;
  readonly #waiting = new Set<{ until: number; resolve: () => void }>();
  #isHastened = false;
  #isFinishing = false;

  constructor(
    private readonly api: Api,
    private readonly options: LogShipperOptions,
    /** Reports lost records. Must not call `ship`. */
    private readonly warn: (message: string) => void,
  ) {
    this.#batchBytes = options.batchBytes;
  }

  /** Queues a record. A record that is too long is truncated if it is about a flow run, else dropped. */
  ship(record: LogRecord): void {
    const { maxLogBytes, maxQueueBytes } = this.options;
    let queued = toQueuedRecord(record);
    if (queued.bytes - 1 > maxLogBytes) {
      if (record.flow_run_id === null) {
        this.warn(`A log record of ${queued.bytes - 1} bytes was not sent to the API, which takes ${maxLogBytes}.`);
        return;
      }
      queued = toQueuedRecord(truncate(record, maxLogBytes));
    }
    this.#queue.push(queued);
    this.#added++;
    this.#queueBytes += queued.bytes;
    while (this.#queueBytes > maxQueueBytes && this.#queue.length > 1) {
      this.#remove(1);
      if (this.#dropped++ === 0) this.warn("Too many log records wait for the API; the oldest are dropped.");
    }
    if (this.#queueBytes >= this.#batchBytes / 2 && !this.#hasOutage) this.#wake.wake("full");
  }

  /**
   * Resolves when each record that is queued now was sent, or was dropped. With `soon`, they are not kept for the next
   * interval. Never rejects.
   */
  async settled({ soon = false } = {}): Promise<void> {
    if (this.#queue.length === 0) return;
    if (soon && !this.#isHastened) {
      this.#isHastened = true;
      startTimer(soonMs, () => {
        this.#isHastened = false;
        this.#wake.wake("full");
      });
    }
    await new Promise<void>((resolve) => this.#waiting.add({ until: this.#added, resolve }));
  }

  /** Sends at intervals until `signal` aborts. Never throws. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await this.#wake.sleep(this.options.batchIntervalMs, signal);
      if (!signal.aborted) await this.flush(signal);
    }
  }

  /**
   * Sends the queued records until `signal` aborts or an outage begins. Then the rest stays queued. Records that the
   * server refuses are dropped. Never throws.
   */
  async flush(signal: AbortSignal): Promise<void> {
    if (this.#sending !== undefined) await waitUnlessAborted(this.#sending, signal);
    if (signal.aborted) return;
    this.#sending = this.#send(signal).finally(() => {
      this.#sending = undefined;
    });
    await this.#sending;
  }

  /** Sends the queued records until `deadline` aborts, and reports how many were not sent. Never throws. */
  async finish(deadline: AbortSignal): Promise<void> {
    this.#isFinishing = true;
    await this.flush(deadline);
    const lost = this.#queue.length + this.#dropped;
    if (lost > 0) this.warn(`${lost} log records were not sent to the API, which did not take them in time.`);
  }

  async #send(signal: AbortSignal): Promise<void> {
    while (this.#queue.length > 0 && !signal.aborted) {
      const batch = this.#nextBatch();
      const body = batch.map(({ record }) => ({ ...record }));
      const sentAt = monotonicMs();
      try {
        await this.api.request("POST", "/logs/", { body, signal });
        this.#recordSentBatch();
      } catch (error) {
        if (signal.aborted) return;
        if (hasStatus(error, 413) && batch.length > 1) {
          this.#shrink(batch);
          continue;
        }
        if (mayBeSentLater(error) && !this.#isRejectedAlone(batch, error)) return this.#startOutage(error as Error);
        this.warn(`${batch.length} log records could not be sent to the API: ${(error as Error).message}`);
      }
      // The oldest records may have been dropped meanwhile. So remove up to the batch's last record, if it is still
      // queued.
      this.#remove(this.#queue.indexOf(batch.at(-1) as QueuedRecord) + 1);
      // A server that stores many records has no time for the flow runs of others, so half of its time is left to them.
      if (this.#queue.length > 0 && !this.#isFinishing) await sleep(monotonicMs() - sentAt, signal);
    }
  }

  /** Halves the batch size, because the server or a proxy will refuse the next body of this size too. */
  #shrink(batch: readonly QueuedRecord[]): void {
    const bytes = bytesOf(batch);
    this.#batchBytes = Math.floor(bytes / 2);
    this.warn(
      `The API, or a proxy before it, does not take ${bytes} bytes of log records at once (413); lictor sends ${this.#batchBytes} at most.`,
    );
  }

  /**
   * Returns true for a single record that fails again and again while other batches succeed. Until that is known,
   * halves the next batch, and moves a single record to the end of the queue.
   */
  #isRejectedAlone(batch: readonly QueuedRecord[], error: unknown): boolean {
    if (!hasStatus(error, 500)) return false;
    this.#batchRecords = Math.max(Math.floor(batch.length / 2), 1);
    const [suspect] = batch;
    if (batch.length > 1 || suspect === undefined) return false;
    if (suspect.failures++ === 0) suspect.sentBatchesBefore = this.#sentBatches;
    if (suspect.failures >= maxAttemptsAlone && this.#sentBatches > suspect.sentBatchesBefore) return true;
    // It may have been dropped as the oldest record while it was sent.
    if (this.#queue[0] === suspect) this.#queue.push(...this.#queue.splice(0, 1));
    return false;
  }

  #remove(count: number): void {
    for (const { bytes } of this.#queue.splice(0, count)) this.#queueBytes -= bytes;
    this.#removed += count;
    for (const waiting of this.#waiting) {
      if (waiting.until > this.#removed) continue;
      this.#waiting.delete(waiting);
      waiting.resolve();
    }
  }

  #startOutage(error: Error): void {
    if (!this.#hasOutage) this.warn(`Log records wait because the API does not take them: ${error.message}`);
    this.#hasOutage = true;
  }

  #recordSentBatch(): void {
    this.#sentBatches++;
    this.#batchRecords = Math.min(maxBatchRecords, 2 * this.#batchRecords);
    this.#hasOutage = false;
    if (this.#dropped > 0) this.warn(`${this.#dropped} log records were dropped while the API was away.`);
    this.#dropped = 0;
  }

  /** Returns as many of the oldest records as fit into a batch, at least one. */
  #nextBatch(): QueuedRecord[] {
    let bytes = 1;
    const end = this.#queue.findIndex((queued, index) => {
      bytes += queued.bytes;
      return index > 0 && (bytes > this.#batchBytes || index >= this.#batchRecords);
    });
    return this.#queue.slice(0, end === -1 ? undefined : end);
  }
}

/**
 * Returns true for a failure that the records did not cause: an outage, a server error, refused credentials, a rate
 * limit.
 */
function mayBeSentLater(error: unknown): boolean {
  return isTransient(error) || hasStatus(error, 401) || hasStatus(error, 403);
}
