// Runs loops concurrently. They end together.
import { setMaxListeners } from "node:events";
import { LinkedController } from "./linked-controller.ts";

/**
 * Runs the loops concurrently until all have returned. The first failure aborts the signal of the others. Throws that
 * error after all loops have ended, or an AggregateError if several failed with different errors.
 */
export async function runTogether(
  stop: AbortSignal,
  loops: ReadonlyArray<(signal: AbortSignal) => Promise<void>>,
): Promise<void> {
  using end = new LinkedController(stop);
  const { signal } = end;
  setMaxListeners(0, signal);
  const ended = await Promise.allSettled(
    loops.map(async (loop) => {
      try {
        await loop(signal);
      } catch (error) {
        end.abort(error);
        throw error;
      }
    }),
  );
  // Several loops may throw the reason of the same abort.
  const errors = new Set(ended.flatMap((end) => (end.status === "rejected" ? [end.reason as unknown] : [])));
  if (errors.size > 0) throw errors.size === 1 ? [...errors][0] : new AggregateError(errors);
}
