// Whether to retry a request, and after how long. Pure.
import { clampedPoissonMs } from "../async/jitter.ts";

/** The outcome of one attempt at a request. */
export type AttemptOutcome =
  | {
      kind: "response";
      status: number;
      retryAfterMs: number | undefined;
      maintenance: boolean;
      /** A 404 that is not from the API, for example from a proxy that has no server at the moment. */
      foreign: boolean;
      staleCsrf: boolean;
    }
  | { kind: "undecodable" }
  | { kind: "unexpected" }
  | { kind: "too large" }
  | { kind: "unreachable"; code: string };

/**
 * Retried for every method, because a server that responds so has not executed the request. Source: prefect
 * client/base.py.
 */
const retriedStatuses: ReadonlySet<number> = new Set([408, 429, 502, 503]);

/**
 * Not retried before the first response, because a wrong URL causes them. Later a restart of the server may cause them.
 */
const failFastCode = /^(ECONNREFUSED|ENOTFOUND|EHOSTUNREACH|ENETUNREACH|EPROTO|PROXY_4\d\d)$/;

/** TLS failures, treated in the same way. Node.js has many codes for them, which begin with these texts. */
const tlsCode = /^(ERR_TLS|ERR_SSL|CERT_|SELF_SIGNED|DEPTH_ZERO|UNABLE_TO|ERR_INVALID)/;

/**
 * Returns whether to retry after this attempt, regardless of the number of attempts. `hadResponse`: the client has had
 * a response before. Without one, a refused connection fails at once, so that a wrong URL is reported without delay.
 */
export function isRetryable(outcome: AttemptOutcome, hadResponse: boolean, extraCodes: ReadonlySet<number>): boolean {
  switch (outcome.kind) {
    case "response":
      return retriedStatuses.has(outcome.status) || extraCodes.has(outcome.status) || outcome.staleCsrf;
    case "undecodable":
    case "unexpected":
      return true;
    case "too large":
      return false;
    case "unreachable":
      return hadResponse || !(tlsCode.test(outcome.code) || failFastCode.test(outcome.code));
  }
}

/** The longest pause that a server can ask for. A mistake like `Retry-After: 86400` would idle a worker for a day. */
export const longestPauseMs = 300_000;

/**
 * Returns the milliseconds to wait after failed attempt number `failed` (1, 2, ...). That is the time that the server
 * asked for, up to `longestPauseMs`, or else 0.5, 1, 2, 4, 8, 8 ... s. The reference waits 2, 4, 8, 16, 32 s. With the
 * shorter waits, a short "database is locked" of SQLite costs half a second, and lictor finds a restarted server within
 * 8 s.
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
 * Returns the milliseconds of a `Retry-After` header, which holds seconds or an HTTP date. A past date gives 0. Returns
 * undefined for any other text. `now` is on the wall clock, in milliseconds.
 * Source: prefect client/base.py, RFC 9110 section 10.2.3.
 */
export function parseRetryAfterMs(header: string | undefined, now: number): number | undefined {
  if (header === undefined || header.trim() === "") return undefined;
  const seconds = Number(header);
  if (Number.isFinite(seconds)) return Math.max(0, seconds * 1000);
  const date = Date.parse(header);
  return Number.isNaN(date) ? undefined : Math.max(0, date - now);
}
