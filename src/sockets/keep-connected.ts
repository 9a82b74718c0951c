// The reconnect loop, which all sockets share.
import { monotonicMs } from "../async/clock.ts";
import { sleep } from "../async/sleep.ts";
import type { Logger } from "../logger.ts";
import { inSeconds } from "./keep-alive.ts";
import { SocketError } from "./socket-error.ts";

/** A socket that was open this long was stable. The wait after the end of a stable socket is the shortest. */
const stableAfterMs = 60_000;
const longestWaitMs = 30_000;
/** The shortest time between two warnings about a socket that flaps. */
const flapWarningIntervalMs = 3_600_000;

/** When to try again after a failure: soon, after minutes, or never. */
export type Retry = "soon" | "later" | "never";

/** The purpose of a socket, and how to open and use it. */
export interface KeepConnectedOptions<Socket extends Disposable> {
  name: string;
  /** What happens without the socket, e.g. "flow runs are found by polling". Null if the user need not know. */
  fallback: string | null;
  open: (signal: AbortSignal) => Promise<Socket>;
  use: (socket: Socket, signal: AbortSignal) => Promise<void>;
  /**
   * Classifies a failure of `open` or `use`. `wasOpen` is true if the socket has ever been open. The default is "soon".
   */
  retry?: (error: unknown, wasOpen: boolean) => Retry;
  /** The wait before an attempt "later". Half of it is random. */
  laterMs?: number;
  log: Logger;
  random: () => number;
}

/**
 * Keeps a socket open until `signal` aborts. Opens it, passes it to `use`, and opens it again after any end. The waits
 * are 1, 2, 4 … 30 s, of which half is random. Returns early only if `retry` says "never". Never throws.
 */
export async function keepConnected<Socket extends Disposable>(
  options: KeepConnectedOptions<Socket>,
  signal: AbortSignal,
): Promise<void> {
  const { name, log } = options;
  const connectionLog = new ConnectionLog(options);
  let wasOpen = false;
  let failures = 0;
  while (!signal.aborted) {
    let openedAt: number | undefined;
    let error: unknown;
    try {
      using socket = await options.open(signal);
      openedAt = monotonicMs();
      wasOpen = true;
      connectionLog.logOpened();
      await options.use(socket, signal);
    } catch (thrown) {
      error = thrown;
    }
    if (signal.aborted) return;
    const wasStable = openedAt !== undefined && (isOwnEnd(error) || monotonicMs() - openedAt >= stableAfterMs);
    failures = wasStable ? 1 : failures + 1;
    const retry = error === undefined ? "soon" : (options.retry?.(error, wasOpen) ?? "soon");
    if (retry === "never") {
      log.debug(`No connection to ${name} any more: ${messageOf(error)}`);
      return;
    }
    if (openedAt === undefined) connectionLog.logNotOpened(messageOf(error));
    else connectionLog.logEnded(error, wasStable);
    const waitMs =
      retry === "later" ? (options.laterMs ?? longestWaitMs) : Math.min(1000 * 2 ** (failures - 1), longestWaitMs);
    if (retry === "later") log.debug(`The next attempt to connect to ${name} is in ${inSeconds(waitMs)} s.`);
    await sleep(waitMs * (0.5 + options.random() / 2), signal);
  }
}

function isOwnEnd(error: unknown): boolean {
  return error instanceof SocketError && error.details.isOwnEnd === true;
}

function messageOf(error: unknown): string {
  if (error === undefined) return "closed by the server";
  return error instanceof Error ? error.message : String(error);
}

/**
 * Decides how to log the changes of a connection. An outage is one warning, and its end is one info record. It is no
 * outage if the next attempt succeeds. A connection that ends again and again is one warning an hour, with a count.
 */
class ConnectionLog {
  #isOutage = false;
  /** The number of successive connections that were not stable, and when the first of them ended. */
  #ends = 0;
  #endsSinceMs = 0;
  #flapWarnedAtMs: number | undefined;

  constructor(private readonly options: Pick<KeepConnectedOptions<Disposable>, "name" | "fallback" | "log">) {}

  logOpened(): void {
    const { name, log } = this.options;
    log[this.#isOutage ? "info" : "debug"](`Connected to ${name}.`);
    this.#isOutage = false;
  }

  logNotOpened(reason: string): void {
    const { name, fallback, log } = this.options;
    // There was already a warning about a socket that flaps.
    const shouldWarn = !this.#isOutage && this.#flapWarnedAtMs === undefined && fallback !== null;
    if (shouldWarn) log.warn(`No connection to ${name}; ${fallback}. Reason: ${reason}`);
    else log.debug(`No connection to ${name}: ${reason}`);
    this.#isOutage ||= shouldWarn;
  }

  logEnded(error: unknown, wasStable: boolean): void {
    const { name, fallback, log } = this.options;
    const reason = messageOf(error);
    const now = monotonicMs();
    if (wasStable) {
      this.#ends = 0;
      this.#flapWarnedAtMs = undefined;
    }
    if (this.#ends++ === 0) this.#endsSinceMs = now;
    const { cause, shouldWarn: isCauseWarningDue } = error instanceof SocketError ? error.details : {};
    const isFlapWarningDue =
      this.#ends > 1 && (this.#flapWarnedAtMs === undefined || now - this.#flapWarnedAtMs >= flapWarningIntervalMs);
    if (fallback === null || !(cause === undefined ? isFlapWarningDue : isCauseWarningDue)) {
      log.debug(`No connection to ${name}: ${reason}`);
      return;
    }
    this.#flapWarnedAtMs = now;
    const times = this.#ends === 1 ? "" : `, ${this.#ends} times in ${inSeconds(now - this.#endsSinceMs)} s`;
    const message = `The connection to ${name} does not last (${reason}${times}); meanwhile ${fallback}.`;
    log.warn([message, cause].filter(Boolean).join(" "));
  }
}
