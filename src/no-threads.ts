// Replaces `worker_threads` and the package `thread-stream` in the bundle. pino loads both for its transports, which lictor
// does not use. An idle worker would keep them in memory.

/** lictor has one thread. */
export const isMainThread = true;

/** Throws, because there are no threads. */
export default function createThread(): never {
  throw new Error("lictor uses no threads");
}
