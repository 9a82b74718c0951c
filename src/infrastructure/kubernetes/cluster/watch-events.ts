// The stream of changes that the API server sends for a watch.
import { jsonLines } from "../../../api/json-lines.ts";
import { type CancelTimer, startTimer } from "../../../async/clock.ts";
import type { LinkedController } from "../../../async/linked-controller.ts";
import type { Query } from "./call.ts";
import type { StatusBody } from "./explain-status.ts";
import { eventShape } from "./resources.ts";

/** The API server ends a watch after this time, so that watches move to new API servers. They differ, so as not to end at once. */
const watchSeconds = (random: () => number): number => Math.round(300 + 300 * random());

/** A line of a watch. `BOOKMARK` has a version only. */
export type WatchEvent<O> =
  | { readonly type: "ADDED" | "MODIFIED" | "DELETED" | "BOOKMARK"; readonly object: O }
  | { readonly type: "ERROR"; readonly object: StatusBody };

/** Returns the query of a watch that continues from a version. */
export function watchQuery(labelSelector: string, resourceVersion: string, random: () => number): Query {
  const timeoutSeconds = watchSeconds(random);
  return { watch: true, allowWatchBookmarks: true, labelSelector, resourceVersion, timeoutSeconds };
}

/** When a watch counts as dead, and how the loss of its connection is explained. */
export interface WatchOptions {
  /** Ends the connection. */
  readonly round: LinkedController;
  /** The longest time without an event. */
  readonly silenceMs: number;
  explainLost(error: unknown): unknown;
}

/** Yields the events of a watch until it ends or falls silent. Throws if its connection is lost. */
export async function* watchEvents<O>(
  response: AsyncIterable<Buffer>,
  { round, silenceMs, explainLost }: WatchOptions,
): AsyncGenerator<WatchEvent<O>> {
  let isSilent = false;
  const startSilence = (): CancelTimer =>
    startTimer(silenceMs, () => {
      isSilent = true;
      round.abort(new Error("the watch is silent"));
    });
  let endSilence = startSilence();
  try {
    for await (const event of jsonLines(response)) {
      endSilence();
      endSilence = startSilence();
      if (!eventShape(event)) throw new Error("the watch has sent something that is no event");
      yield event as unknown as WatchEvent<O>;
    }
  } catch (error) {
    // A connection that died unnoticed says nothing more. The next watch continues where this one was.
    if (!isSilent) throw explainLost(error);
  } finally {
    endSilence();
  }
}
