// Log records that wait to be sent, and their sizes.
import type { LogRecord } from "./wire.ts";

/** A log record that waits. */
export interface QueuedRecord {
  record: LogRecord;
  /** The size, with the comma or bracket that follows the record in the request. */
  bytes: number;
  /** How often a batch of only this record failed, and how many batches had succeeded before the first failure. */
  failures: number;
  sentBatchesBefore: number;
}

const truncationMark = "... [truncated]";

/** Returns the record with its size. */
export function toQueuedRecord(record: LogRecord): QueuedRecord {
  return { record, bytes: sizeOf(record) + 1, failures: 0, sentBatchesBefore: 0 };
}

/** Returns the size of the request's body. */
export function bytesOf(batch: readonly QueuedRecord[]): number {
  return batch.reduce((sum, { bytes }) => sum + bytes, 1);
}

/** Returns the record with its message cut to whole characters and marked, so that the record fits into `maxBytes`. */
export function truncate(record: LogRecord, maxBytes: number): LogRecord {
  const cutTo = (length: number): LogRecord => ({
    ...record,
    message: record.message.slice(0, length).replace(/[\uD800-\uDBFF]$/, "") + truncationMark,
  });
  // Binary search, because a character takes one to six bytes of JSON.
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
