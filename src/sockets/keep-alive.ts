// How often all sockets of a worker ping. Learns from connections that a proxy has ended, so that the next ones stay open.

/** Shorter than the usual read timeouts of proxies: 60 s of nginx and AWS, 30 s of some company proxies. */
const usualPingMs = 20_000;
/** More pings than this would be a burden. A proxy with a shorter timeout is reported, but it cannot be satisfied. */
const shortestPingMs = 2_000;
/** Two times are "about the same" when they differ by less than this, or by less than a tenth. */
const toleranceMs = 1_000;
/** Ends this close together have one cause, e.g. a server that crashed, and say nothing about a time limit. */
const simultaneousMs = 1_500;
/** How many ends are remembered. */
const remembered = 12;
/** A connection that breaks sooner breaks for other reasons, e.g. because the server crashes at once. */
const shortestTimeoutMs = 900;
/** How often a cause that persists is worth a warning. */
const newsMs = 3_600_000;

/** How an established connection broke off without a closing frame. Times are on the monotonic clock. */
export interface BreakOff {
  endedAtMs: number;
  /** From the upgrade to the end. */
  openMs: number;
  /** From the last byte that came to the end. */
  silentMs: number;
}

/** What the ends of connections have in common. */
export type EndPattern = { kind: "idle" | "lifetime"; afterMs: number };

/**
 * Returns what the latest ends have in common. "idle": two had about the same silence before, so there is a read timeout.
 * "lifetime": three had about the same age although data came, so connections as such are limited. Pure.
 */
export function findPattern(ends: readonly BreakOff[]): EndPattern | undefined {
  const distinct: BreakOff[] = [];
  for (const end of ends.toReversed()) {
    const later = distinct.at(-1);
    if (!later || later.endedAtMs - end.endedAtMs > simultaneousMs) distinct.push(end);
  }
  const [last, second, third] = distinct;
  if (!last || !second || last.openMs < shortestTimeoutMs) return undefined;
  if (last.silentMs >= shortestTimeoutMs && isAbout(last.silentMs, second.silentMs)) {
    return { kind: "idle", afterMs: (last.silentMs + second.silentMs) / 2 };
  }
  const isLimited = third && isAbout(last.openMs, second.openMs) && isAbout(second.openMs, third.openMs);
  return isLimited ? { kind: "lifetime", afterMs: last.openMs } : undefined;
}

function isAbout(one: number, other: number): boolean {
  return Math.abs(one - other) < Math.max(toleranceMs, Math.max(one, other) / 10);
}

/** The keep-alive that all sockets to one address share. */
export class KeepAlive {
  readonly #ends: BreakOff[] = [];
  #pingMs = usualPingMs;
  #toldAtMs: number | undefined;

  /** Milliseconds between two pings of a connection that is opened now. */
  get pingMs(): number {
    return this.#pingMs;
  }

  /**
   * Learns from a connection that broke off. Returns the likely cause and what to do, or undefined when the end has
   * nothing in common with those before. `isNews` is false when the same was returned within the last hour.
   */
  learn(end: BreakOff): { cause: string; isNews: boolean } | undefined {
    this.#ends.push(end);
    if (this.#ends.length > remembered) this.#ends.shift();
    const pattern = findPattern(this.#ends);
    if (!pattern) return undefined;
    const isNews = this.#toldAtMs === undefined || end.endedAtMs - this.#toldAtMs >= newsMs;
    if (isNews) this.#toldAtMs = end.endedAtMs;
    return { cause: this.#explain(pattern), isNews };
  }

  #explain({ kind, afterMs }: EndPattern): string {
    const seconds = inSeconds(afterMs);
    if (kind === "lifetime") {
      return `A proxy on the way probably ends every connection after ${seconds} s, idle or not: raise that limit.`;
    }
    this.#pingMs = Math.max(shortestPingMs, Math.min(this.#pingMs, afterMs / 2));
    const advice = "raise its read timeout above 30 s (nginx: proxy_read_timeout)";
    const pings = `Until then lictor sends a ping every ${inSeconds(this.#pingMs)} s.`;
    return `A proxy on the way probably ends connections after about ${seconds} s without data: ${advice}. ${pings}`;
  }
}

/** Seconds with at most one digit after the point. */
export function inSeconds(ms: number): string {
  return String(Number((ms / 1000).toFixed(ms < 10_000 ? 1 : 0)));
}
