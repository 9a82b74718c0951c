// How often sockets send a ping. Learns from connections that a proxy has ended, so that later connections stay open.

/** Shorter than the usual read timeouts of proxies: 60 s of nginx and AWS, 30 s of some company proxies. */
const usualPingMs = 20_000;
/** More pings would be a burden. So a proxy with an even shorter timeout is reported, but still ends connections. */
const minPingMs = 2_000;
/** Two times are about the same if they differ by less than this, or by less than a tenth. */
const toleranceMs = 1_000;
/**
 * Connections that end this close together have one cause, e.g. a crash of the server. They do not show a time limit.
 */
const sameCauseMs = 1_500;
/** How many broken connections are kept for comparison. */
const maxEnds = 12;
/** If a connection breaks sooner, the cause is not a timeout, but e.g. a server that crashes at once. */
const minTimeoutMs = 900;
/** The shortest time between two warnings about the same cause. */
const warningIntervalMs = 3_600_000;

/** An open connection that broke off without a close frame. `endedAtMs` is on the monotonic clock. */
export interface BrokenConnection {
  endedAtMs: number;
  /** The time from the upgrade to the end. */
  openMs: number;
  /** The time from the last received byte to the end. */
  silentMs: number;
}

/** What broken connections have in common: a read timeout, or a limit of their age. */
export type EndPattern = { kind: "idle" | "lifetime"; afterMs: number };

/**
 * Returns what the latest broken connections have in common, or undefined. "idle": two broke after about the same
 * silence, so there is a read timeout. "lifetime": three broke at about the same age, so connections are limited in
 * age. Pure.
 */
export function findPattern(ends: readonly BrokenConnection[]): EndPattern | undefined {
  const distinct: BrokenConnection[] = [];
  for (const end of ends.toReversed()) {
    const later = distinct.at(-1);
    if (!later || later.endedAtMs - end.endedAtMs > sameCauseMs) distinct.push(end);
  }
  const [last, second, third] = distinct;
  if (!last || !second || last.openMs < minTimeoutMs) return undefined;
  if (last.silentMs >= minTimeoutMs && isAbout(last.silentMs, second.silentMs)) {
    return { kind: "idle", afterMs: (last.silentMs + second.silentMs) / 2 };
  }
  const isLimited = third && isAbout(last.openMs, second.openMs) && isAbout(second.openMs, third.openMs);
  return isLimited ? { kind: "lifetime", afterMs: last.openMs } : undefined;
}

function isAbout(one: number, other: number): boolean {
  return Math.abs(one - other) < Math.max(toleranceMs, Math.max(one, other) / 10);
}

/** The ping interval of all sockets to one address. */
export class KeepAlive {
  readonly #ends: BrokenConnection[] = [];
  #pingMs = usualPingMs;
  #warnedAtMs: number | undefined;

  /** Milliseconds between two pings of a new connection. */
  get pingMs(): number {
    return this.#pingMs;
  }

  /**
   * Learns from a connection that broke off. Returns the likely cause and what to do, or undefined without a pattern.
   * `shouldWarn` is false if a cause was returned within the last hour.
   */
  learn(end: BrokenConnection): { cause: string; shouldWarn: boolean } | undefined {
    this.#ends.push(end);
    if (this.#ends.length > maxEnds) this.#ends.shift();
    const pattern = findPattern(this.#ends);
    if (!pattern) return undefined;
    const shouldWarn = this.#warnedAtMs === undefined || end.endedAtMs - this.#warnedAtMs >= warningIntervalMs;
    if (shouldWarn) this.#warnedAtMs = end.endedAtMs;
    return { cause: this.#explain(pattern), shouldWarn };
  }

  #explain({ kind, afterMs }: EndPattern): string {
    const seconds = inSeconds(afterMs);
    if (kind === "lifetime") {
      return `A proxy on the way probably ends every connection after ${seconds} s, idle or not: raise that limit.`;
    }
    this.#pingMs = Math.max(minPingMs, Math.min(this.#pingMs, afterMs / 2));
    const advice = "raise its read timeout above 30 s (nginx: proxy_read_timeout)";
    const pings = `Until then lictor sends a ping every ${inSeconds(this.#pingMs)} s.`;
    return `A proxy on the way probably ends connections after about ${seconds} s without data: ${advice}. ${pings}`;
  }
}

/** Returns the seconds as text, with one decimal place below 10 s. */
export function inSeconds(ms: number): string {
  return String(Number((ms / 1000).toFixed(ms < 10_000 ? 1 : 0)));
}
