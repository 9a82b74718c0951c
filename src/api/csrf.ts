// The CSRF token that a self-hosted server may require for every write.
// Source: prefect client/base.py _add_csrf_headers, server/api/csrf_token.py.
import { randomUUID } from "node:crypto";
import { wallClockMs } from "../async/clock.ts";
import { waitUnlessAborted } from "../async/sleep.ts";
import { isTransient } from "./errors.ts";
import type { HttpResponse } from "./http-message.ts";

/** Sends a GET request. Throws if there is no response. */
type Get = (path: string) => Promise<HttpResponse>;

/** The token of one client, fetched when it is needed first. */
export class CsrfToken {
  readonly #client = randomUUID();
  #token: { value: string; expiresAt: number } | undefined;
  #fetching: Promise<void> | undefined;

  constructor(private enabled: boolean) {}

  /**
   * Returns the headers for a write. Fetches a token first if there is no valid one. Concurrent callers share one
   * fetch. Throws the errors of `get`, NoTokenError, and the abort reason of `signal`. `get` must also end when
   * `signal` aborts.
   */
  async headers(get: Get, signal: AbortSignal | undefined): Promise<Record<string, string>> {
    if (this.enabled && (!this.#token || this.#token.expiresAt <= wallClockMs())) await this.#fetchOnce(get, signal);
    if (!this.enabled || !this.#token) return {};
    return { "Prefect-Csrf-Token": this.#token.value, "Prefect-Csrf-Client": this.#client };
  }

  /** Drops the token, because the server called it invalid. */
  forget(): void {
    this.#token = undefined;
  }

  async #fetchOnce(get: Get, signal: AbortSignal | undefined): Promise<void> {
    const others = this.#fetching;
    if (!others) {
      this.#fetching = this.#fetch(get).finally(() => {
        this.#fetching = undefined;
      });
      await this.#fetching;
      return;
    }
    try {
      await (signal ? waitUnlessAborted(others, signal) : others);
    } catch (error) {
      if (isTransient(error) || error instanceof NoTokenError) throw error;
      // The fetch belonged to another request, which was aborted. This request goes on.
      await this.#fetchOnce(get, signal);
    }
    signal?.throwIfAborted();
  }

  async #fetch(get: Get): Promise<void> {
    const response = await get(`/csrf-token?client=${this.#client}`);
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
