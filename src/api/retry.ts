// When to retry a request, and after how long. Pure.
import { clampedPoissonMs } from "../async/jitter.ts";

/** What one attempt at a request came to. */
export type Attempt =
  | {
      kind: "answer";
      status: number;
      retryAfterMs: number | undefined;
      maintenance: boolean;
      /** A 404 that is not the API's: a proxy has no server to forward to at the moment. */
      foreign: boolean;
      staleCsrf: boolean;
    }
  | { kind: "undecodable" }
  | { kind: "unexpected" }
  | { kind: "too large" }
  | { kind: "unreachable"; code: string };

/** Retried for every method: a server that says so has not done the work. Source: prefect client/base.py. */
const retriedStatuses: ReadonlySet<number> = new Set([408, 429, 502, 503]);

/** Codes of a first contact that will not get better by waiting a second; later they are a server restarting. */
const failFastCode = /^(ECONNREFUSED|ENOTFOUND|EHOSTUNREACH|ENETUNREACH|EPROTO|PROXY_4\d\d)$/;

/** So are TLS failures: later a proxy may be restarting. Node's codes for them are many but share these beginnings. */
const tlsCode = /^(ERR_TLS|ERR_SSL|CERT_|SELF_SIGNED|DEPTH_ZERO|UNABLE_TO|ERR_INVALID)/;

/**
 * Returns whether to retry after this attempt, regardless of how many there were. `hadContact`: this client has had a response
 * before. Without one a refused connection fails at once, so that a wrong URL is reported without delay.
 */
export function isRetryable(attempt: Attempt, hadContact: boolean, extraCodes: ReadonlySet<number>): boolean {
  switch (attempt.kind) {
    case "answer":
      return retriedStatuses.has(attempt.status) || extraCodes.has(attempt.status) || attempt.staleCsrf;
    case "undecodable":
    case "unexpected":
      return true;
    case "too large":
      return false;
    case "unreachable":
      return hadContact || !(tlsCode.test(attempt.code) || failFastCode.test(attempt.code));
  }
}

/** No server is believed that it will be away for longer: a slip like `Retry-After: 86400` would idle a worker for a day. */
export const longestPauseMs = 300_000;

/**
 * Returns the milliseconds to wait after failed attempt number `failed` (1, 2, ...). A time that the server asked for is
 * waited in full, up to `longestPauseMs`. Otherwise 0.5, 1, 2, 4, 8, 8 ... s. The reference waits 2, 4, 8, 16, 32 s. Here
 * the short "database is locked" of a SQLite server costs half a second, and a restarted server is found within 8 s.
 */
export function delayMs(
  failed: number,
  retryAfterMs: number | undefined,
  jitter: number,
  random: () => number,
): number {
  if (retryAfterMs !== undefined) return Math.min(retryAfterMs, longestPauseMs) * (1 + jitter * random());
  return clampedPoissonMs(Math.min(500 * 2 ** (failed - 1), 8_000), jitter, random);
}

/**
 * Milliseconds from a `Retry-After` header: seconds or an HTTP date, the past is 0, anything else undefined.
 * Source: prefect client/base.py, RFC 9110 section 10.2.3.
 */
export function parseRetryAfterMs(header: string | undefined, now: number): number | undefined {
  if (header === undefined || header.trim() === "") return undefined;
  const seconds = Number(header);
  if (Number.isFinite(seconds)) return Math.max(0, seconds * 1000);
  const date = Date.parse(header);
  return Number.isNaN(date) ? undefined : Math.max(0, date - now);
}
