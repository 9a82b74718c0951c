// The one reconnect loop of all sockets.

import { monotonicMs } from "../async/clock.ts";
import { sleep } from "../async/sleep.ts";
import type { Logger } from "../logger.ts";

/** A socket that lasted this long was a good one: the next failure starts again with the shortest wait. */
const goodAfterMs = 60_000;
const longestWaitMs = 30_000;

/**
 * Keeps a socket open until `signal` aborts: opens it, hands it to `serve`, and after any end waits 1, 2, 4 … 30 s, half
 * of it at random, and opens it again. An outage is one warning that says what goes on meanwhile, its further failures
 * are debug records, its end is one info record. Returns early only after a failure that `isFinal`. Never throws.
 */
export async function keepConnected<Socket extends Disposable>(
  options: {
    name: string;
    /** What goes on without the socket, e.g. "flow runs are found by polling"; null: all, so an outage is no news. */
    meanwhile: string | null;
    open: (signal: AbortSignal) => Promise<Socket>;
    serve: (socket: Socket, signal: AbortSignal) => Promise<void>;
    /** Whether a failure of `open` or `serve` leaves no hope. */
    isFinal?: (error: unknown) => boolean;
    log: Logger;
    random: () => number;
  },
  signal: AbortSignal,
): Promise<void> {
  const { name, meanwhile, log } = options;
  let failures = 0;
  /** The outage that was announced: silent from then on, but for one record of its end. */
  let outage: "none" | "announced" | "over" = "none";
  while (!signal.aborted) {
    let openedAt: number | undefined;
    let reason = "closed by the server";
    try {
      using socket = await options.open(signal);
      openedAt = monotonicMs();
      log[outage === "announced" ? "info" : "debug"](`Connected to ${name}.`);
      if (outage === "announced") outage = "over";
      await options.serve(socket, signal);
    } catch (error) {
      reason = error instanceof Error ? error.message : String(error);
      if (options.isFinal?.(error)) {
        log.debug(`No connection to ${name} any more: ${reason}`);
        return;
      }
    }
    if (signal.aborted) return;
    const wasGood = openedAt !== undefined && monotonicMs() - openedAt >= goodAfterMs;
    const isNews = wasGood || outage === "none" || (outage === "over" && openedAt === undefined);
    if (isNews && meanwhile !== null) {
      log.warn(`No connection to ${name}; ${meanwhile}. Reason: ${reason}`);
      outage = "announced";
    } else {
      log.debug(`No connection to ${name}: ${reason}`);
    }
    failures = wasGood ? 1 : failures + 1;
    const waitMs = Math.min(1000 * 2 ** (failures - 1), longestWaitMs);
    await sleep(waitMs * (0.5 + options.random() / 2), signal);
  }
}
