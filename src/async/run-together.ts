// Running loops side by side with one fate.
import { setMaxListeners } from "node:events";

/** Runs the loops side by side until all have returned. The first failure stops the others; all are awaited. */
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
