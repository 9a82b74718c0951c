// Requests about claimed flow runs that the server refuses although it accepted the same credentials before. They are
// repeated, with one warning. Most of them report a state.
import { clampedPoissonMs } from "../async/jitter.ts";
import type { Logger } from "../logger.ts";
import type { ApiError } from "./errors.ts";
import { type HttpResponse, isJson } from "./http-message.ts";

/** Only a person can renew a key or change a firewall rule, so a retry once a minute is enough. */
const longestPauseMs = 60_000;

/** True: any refusal. "unless forbidden": not a 403 of the API itself, because that permission may be missing for ever. */
export type RetriedRefusals = boolean | "unless forbidden";

/**
 * Returns true for a response that says nothing about the request itself: the credentials are refused, a proxy or a
 * firewall responds instead of the API, or the response redirects to a login page.
 */
function isRefusal(response: HttpResponse): boolean {
  const { status } = response;
  if (status === 401 || status === 403) return true;
  return status >= 300 && status < 500 && !isJson(response);
}

/** Returns whether the request is repeated after this response. */
export function isRetriedRefusal(response: HttpResponse, retries: RetriedRefusals): boolean {
  if (!isRefusal(response) || retries === false) return false;
  return retries === true || !(response.status === 403 && isJson(response));
}

/** Returns the milliseconds to wait after refusal number `refusals` (1, 2, ...): 1, 2, 4 ... 60 s, with jitter. */
export function refusalPauseMs(refusals: number, jitter: number, random: () => number): number {
  return clampedPoissonMs(Math.min(1000 * 2 ** (refusals - 1), longestPauseMs), jitter, random);
}

/** Counts the refused reports, so that a thousand of them cause only one warning. */
export class RefusedReports {
  #count = 0;

  constructor(private readonly log: Logger) {}

  /** Call when a report is refused for the first time. */
  begin(error: ApiError): void {
    if (this.#count++ === 0) this.log.warn(`${error.message} The request is repeated until the server takes it.`);
  }

  /** Call when the retries of a refused report end. `hasResponse`: the server no longer refuses it. */
  end(hasResponse: boolean): void {
    if (--this.#count === 0 && hasResponse) this.log.info("The server takes the refused requests again.");
  }
}
