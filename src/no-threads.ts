// Replaces `worker_threads`, `module` and the package `thread-stream` in the bundle. pino loads them for its transports, which
// lictor does not use. An idle worker would keep them in memory.

/** lictor has one thread. */
export const isMainThread = true;

/** Throws, because there are no threads. */
export default function createThread(): never {
  throw new Error("lictor uses no threads");
}

/** Throws, because only threads load modules by name. */
export function createRequire(): never {
  throw new Error("lictor uses no threads");
}
