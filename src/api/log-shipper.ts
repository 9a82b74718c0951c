// Log records to the API: in batches, best effort, never in anybody's way.
// Source: prefect logging/handlers.py APILogWorker.
import { sleep } from "../async/sleep.ts";
import type { ApiClient } from "./client.ts";
import type { LogRecord } from "./wire.ts";

/** Sizes in bytes of compact UTF-8 JSON. Beyond `maxWaiting` the oldest records are dropped: the server is away. */
export interface LogShipperOptions {
  batchIntervalMs: number;
  batchBytes: number;
  maxLogBytes: number;
}

const maxWaiting = 10_000;
const truncationMark = "... [truncated]";

interface Waiting {
  record: LogRecord;
  bytes: number;
}

/** Collects records and sends them every interval. */
export class LogShipper {
  #waiting: Waiting[] = [];
  #dropped = 0;

  constructor(
    private readonly api: ApiClient,
    private readonly options: LogShipperOptions,
    /** Says, once, what could not be sent; must not come back here as a record. */
    private readonly complain: (message: string) => void,
  ) {}

  /** Takes a record; a message too long for the server is cut and marked. */
  ship(record: LogRecord): void {
    const { maxLogBytes } = this.options;
    let fitting = record;
    let bytes = sizeOf(record);
    if (bytes > maxLogBytes) {
      const keep = maxLogBytes - sizeOf({ ...record, message: truncationMark });
      const message = Buffer.from(record.message)
        .subarray(0, Math.max(0, keep))
        .toString("utf8")
        .replace(/\uFFFD$/, "");
      fitting = { ...record, message: message + truncationMark };
      bytes = sizeOf(fitting);
    }
    if (this.#waiting.length === maxWaiting) {
      this.#waiting.shift();
      if (this.#dropped++ === 0) this.complain("Too many log records wait for the API; the oldest are dropped.");
    }
    this.#waiting.push({ record: fitting, bytes });
  }

  /** Sends every interval until `signal` aborts. Never throws. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await sleep(this.options.batchIntervalMs, signal);
      if (!signal.aborted) await this.flush(signal);
    }
  }

  /** Sends everything that waits, until `signal` aborts. Never throws; what the server refuses is lost. */
  async flush(signal: AbortSignal): Promise<void> {
    while (this.#waiting.length > 0 && !signal.aborted) {
      const batch = this.#nextBatch();
      try {
        await this.api.request("POST", "/logs/", { body: batch.map(({ record }) => ({ ...record })), signal });
        this.#waiting.splice(0, this.#waiting.indexOf(batch.at(-1) as Waiting) + 1);
      } catch (error) {
        if (signal.aborted) return;
        this.#waiting.splice(0, this.#waiting.indexOf(batch.at(-1) as Waiting) + 1);
        this.complain(`${batch.length} log records could not be sent to the API: ${(error as Error).message}`);
      }
    }
  }

  /** At least one record, then as many as stay below the batch size with room for one more of the largest. */
  #nextBatch(): Waiting[] {
    const room = Math.max(this.options.batchBytes - this.options.maxLogBytes - 1, 1);
    const batch: Waiting[] = [];
    let bytes = 0;
    for (const waiting of this.#waiting) {
      bytes += waiting.bytes + 1;
      if (batch.length > 0 && bytes > room) break;
      batch.push(waiting);
    }
    return batch;
  }
}

function sizeOf(record: LogRecord): number {
  return Buffer.byteLength(JSON.stringify(record));
}
