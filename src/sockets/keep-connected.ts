// The one reconnect loop of all sockets.
import { monotonicMs } from "../async/clock.ts";
import { sleep } from "../async/sleep.ts";
import type { Logger } from "../logger.ts";
import { inSeconds } from "./keep-alive.ts";
import { SocketError } from "./socket-error.ts";

/** A socket that lasted this long was a good one: the next failure starts again with the shortest wait. */
const goodAfterMs = 60_000;
const longestWaitMs = 30_000;
/** How often a socket that flaps is worth a warning. */
const flapNewsMs = 3_600_000;

/** Whether a failure is worth another attempt: soon, after minutes, or never. */
export type Retry = "soon" | "later" | "never";

/** What a socket is for, and how to open and serve it. */
export interface KeptSocket<Socket extends Disposable> {
  name: string;
  /** What the worker does without the socket, e.g. "flow runs are found by polling"; null where nothing changes. */
  meanwhile: string | null;
  open: (signal: AbortSignal) => Promise<Socket>;
  serve: (socket: Socket, signal: AbortSignal) => Promise<void>;
  /** Classifies a failure of `open` or `serve`; `wasOpen` is true once the socket was open. The default is "soon". */
  retry?: (error: unknown, wasOpen: boolean) => Retry;
  /** The wait before an attempt "later", in milliseconds; half of it is random. */
  laterMs?: number;
  log: Logger;
  random: () => number;
}

/**
 * Keeps a socket open until `signal` aborts. Opens it, hands it to `serve`, and opens it again after any end: after
 * 1, 2, 4 … 30 s, of which half is random. Returns early only after a failure that is worth no retry. Never throws.
 */
export async function keepConnected<Socket extends Disposable>(
  kept: KeptSocket<Socket>,
  signal: AbortSignal,
): Promise<void> {
  const { name, log } = kept;
  const news = new ConnectionNews(kept);
  let wasOpen = false;
  let failures = 0;
  while (!signal.aborted) {
    let openedAt: number | undefined;
    let error: unknown;
    try {
      using socket = await kept.open(signal);
      openedAt = monotonicMs();
      wasOpen = true;
      news.opened();
      await kept.serve(socket, signal);
    } catch (thrown) {
      error = thrown;
    }
    if (signal.aborted) return;
    const wasGood = openedAt !== undefined && monotonicMs() - openedAt >= goodAfterMs;
    failures = wasGood ? 1 : failures + 1;
    const retry = error === undefined ? "soon" : (kept.retry?.(error, wasOpen) ?? "soon");
    if (retry === "never") {
      log.debug(`No connection to ${name} any more: ${messageOf(error)}`);
      return;
    }
    if (openedAt === undefined) news.notOpened(messageOf(error));
    else news.ended(error, wasGood);
    const waitMs =
      retry === "later" ? (kept.laterMs ?? longestWaitMs) : Math.min(1000 * 2 ** (failures - 1), longestWaitMs);
    if (retry === "later") log.debug(`The next attempt to connect to ${name} is in ${inSeconds(waitMs)} s.`);
    await sleep(waitMs * (0.5 + kept.random() / 2), signal);
  }
}

function messageOf(error: unknown): string {
  if (error === undefined) return "closed by the server";
  return error instanceof Error ? error.message : String(error);
}

/**
 * Decides which record a change is worth. An outage is one warning, its end one info record. A connection that ends and
 * is open again at the next attempt is no outage. One that ends again and again is one warning an hour, with a count.
 */
class ConnectionNews {
  #isOutage = false;
  /** Connections that ended soon, one after the other, and when the first of them ended. */
  #ends = 0;
  #endsSinceMs = 0;
  #flapToldAtMs: number | undefined;

  constructor(private readonly kept: Pick<KeptSocket<Disposable>, "name" | "meanwhile" | "log">) {}

  opened(): void {
    const { name, log } = this.kept;
    log[this.#isOutage ? "info" : "debug"](`Connected to ${name}.`);
    this.#isOutage = false;
  }

  notOpened(reason: string): void {
    const { name, meanwhile, log } = this.kept;
    // A socket that flaps has had its warning.
    const isNews = !this.#isOutage && this.#flapToldAtMs === undefined && meanwhile !== null;
    if (isNews) log.warn(`No connection to ${name}; ${meanwhile}. Reason: ${reason}`);
    else log.debug(`No connection to ${name}: ${reason}`);
    this.#isOutage ||= isNews;
  }

  ended(error: unknown, wasGood: boolean): void {
    const { name, meanwhile, log } = this.kept;
    const reason = messageOf(error);
    const now = monotonicMs();
    if (wasGood) {
      this.#ends = 0;
      this.#flapToldAtMs = undefined;
    }
    if (this.#ends++ === 0) this.#endsSinceMs = now;
    const { cause, isNews: isCauseNews } = error instanceof SocketError ? error.details : {};
    const isFlapNews = this.#ends > 1 && (this.#flapToldAtMs === undefined || now - this.#flapToldAtMs >= flapNewsMs);
    if (meanwhile === null || !(cause === undefined ? isFlapNews : isCauseNews)) {
      log.debug(`No connection to ${name}: ${reason}`);
      return;
    }
    this.#flapToldAtMs = now;
    const times = this.#ends === 1 ? "" : `, ${this.#ends} times in ${inSeconds(now - this.#endsSinceMs)} s`;
    const message = `The connection to ${name} does not last (${reason}${times}); meanwhile ${meanwhile}.`;
    log.warn([message, cause].filter(Boolean).join(" "));
  }
}
