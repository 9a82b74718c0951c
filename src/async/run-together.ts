// Runs loops concurrently. They end together.
import { setMaxListeners } from "node:events";

/**
 * Runs the loops concurrently until all have returned. The first failure aborts the signal of the others. Throws that
 * error after all loops have ended, or an AggregateError if several failed.
 */
export async function runTogether(
  stop: AbortSignal,
  loops: ReadonlyArray<(signal: AbortSignal) => Promise<void>>,
): Promise<void> {
  const failure = new AbortController();
  const signal = AbortSignal.any([stop, failure.signal]);
  setMaxListeners(0, signal);
  const ended = await Promise.allSettled(
    loops.map(async (loop) => {
      try {
        await loop(signal);
      } catch (error) {
        failure.abort(error);
        throw error;
      }
    }),
  );
  const errors = ended.flatMap((end) => (end.status === "rejected" ? [end.reason as unknown] : []));
  if (errors.length > 0) throw errors.length === 1 ? errors[0] : new AggregateError(errors);
}
