// Reports that a server refuses although it took the same credentials before: kept and repeated, and told once.
import { clampedPoissonMs } from "../async/jitter.ts";
import type { Logger } from "../logger.ts";
import type { ApiError } from "./errors.ts";
import type { HttpResponse } from "./http-message.ts";

/** A key is renewed and a firewall's rule is removed by people: asking more often than once a minute helps nobody. */
const longestPauseMs = 60_000;

/**
 * True for a response that says nothing about the report itself: the credentials are refused, a proxy or a firewall has
 * answered in place of the API, or it sends to a login page.
 */
export function isRefusal({ status, headers }: HttpResponse): boolean {
  if (status === 401 || status === 403) return true;
  return status >= 300 && status < 500 && !/json/i.test(headers["content-type"] ?? "");
}

/** Returns the milliseconds to wait after refusal number `refusals` (1, 2, ...): 1, 2, 4 ... 60 s, with jitter. */
export function refusalPauseMs(refusals: number, jitter: number, random: () => number): number {
  return clampedPoissonMs(Math.min(1000 * 2 ** (refusals - 1), longestPauseMs), jitter, random);
}

/** Counts the reports that are being refused, so that a thousand of them are one warning. */
export class RefusedReports {
  #count = 0;

  constructor(private readonly log: Logger) {}

  /** A report has been refused for the first time. */
  begin(error: ApiError): void {
    if (this.#count++ === 0)
      this.log.warn(`${error.message} Reports are kept and repeated until the server takes them.`);
  }

  /** A report that was refused has ended: taken, answered otherwise, or given up. */
  end(isTaken: boolean): void {
    if (--this.#count === 0 && isTaken) this.log.info("The server takes reports again.");
  }
}
