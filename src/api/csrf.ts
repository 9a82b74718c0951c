// The CSRF token that a self-hosted server may require for every write.
// Source: prefect client/base.py _add_csrf_headers, server/api/csrf_token.py.
import { wallClockMs } from "../async/clock.ts";
import { waitAtMost } from "../async/sleep.ts";
import { randomUuid } from "../random-ids.ts";
import type { HttpResponse } from "./http-message.ts";

/** Sends a GET request. Throws if there is no response. */
type Get = (path: string) => Promise<HttpResponse>;

/** The token of one client, fetched when it is needed first. */
export class CsrfToken {
  readonly #client = randomUuid();
  #token: { value: string; expiresAt: number } | undefined;
  #fetching: Promise<void> | undefined;

  /** `get` must end by itself. */
  constructor(
    private enabled: boolean,
    private readonly get: Get,
  ) {}

  /**
   * Returns the headers for a write. Fetches a token first if there is no valid one. Concurrent callers share one fetch,
   * which goes on if a caller leaves. Returns undefined if there is no token within `limitMs`. Throws the errors of
   * `get`, NoTokenError, and the abort reason of `signal`.
   */
  async headers(limitMs: number, signal: AbortSignal): Promise<Record<string, string> | undefined> {
    if (this.enabled && (!this.#token || this.#token.expiresAt <= wallClockMs())) {
      let hasEnded = false;
      const fetched = this.#fetchOnce().then(() => {
        hasEnded = true;
      });
      await waitAtMost(fetched, limitMs, signal);
      signal.throwIfAborted();
      if (!hasEnded) return undefined;
    }
    if (!this.enabled || !this.#token) return {};
    return { "Prefect-Csrf-Token": this.#token.value, "Prefect-Csrf-Client": this.#client };
  }

  /** Drops the token, because the server called it invalid. */
  forget(): void {
    this.#token = undefined;
  }

  #fetchOnce(): Promise<void> {
    this.#fetching ??= this.#fetch().finally(() => {
      this.#fetching = undefined;
    });
    return this.#fetching;
  }

  async #fetch(): Promise<void> {
    const response = await this.get(`/csrf-token?client=${this.#client}`);
    if (response.status === 404 || (response.status === 422 && response.body.includes("CSRF protection is disabled"))) {
      this.enabled = false;
    } else if (response.status < 300) {
      this.#token = parseToken(response.body);
    } else {
      throw new NoTokenError(response);
    }
  }
}

/** The server refused to give a token. `response` says why; its status is never 2xx. */
export class NoTokenError extends Error {
  constructor(readonly response: HttpResponse) {
    super(`the CSRF token was answered with ${response.status}`);
  }
}

function parseToken(body: string): { value: string; expiresAt: number } | undefined {
  try {
    const { token, expiration } = JSON.parse(body) as { token?: unknown; expiration?: unknown };
    if (typeof token !== "string") return undefined;
    const expiresAt = typeof expiration === "string" ? Date.parse(expiration) : Number.NaN;
    return { value: token, expiresAt: Number.isNaN(expiresAt) ? Number.POSITIVE_INFINITY : expiresAt };
  } catch {
    return undefined;
  }
}
