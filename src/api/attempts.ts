// Single attempts at requests. Adds the address, the credentials, the CSRF token and the headers. `ApiClient` repeats them.
import { monotonicMs } from "../async/clock.ts";
import { neverAborts } from "../async/never-aborts.ts";
import { stringifyExactJson } from "../exact-json.ts";
import type { Agents } from "./agents.ts";
import type { ApiAddress } from "./api.ts";
import { type AttemptResult, attemptWithError, attemptWithResponse } from "./attempt.ts";
import type { Credentials } from "./credentials.ts";
import { CsrfToken } from "./csrf.ts";
import { UnreachableError } from "./errors.ts";
import { Hedge } from "./hedge.ts";
import type { HttpResponse } from "./http-message.ts";
import { sendHttpRequest } from "./http-request.ts";
import { requestHeaders } from "./request-headers.ts";
import type { RequestAttribution, RequestOptions } from "./request-options.ts";

/** The options of attempts. Most of them are settings of the same name. */
export interface AttemptOptions {
  address: ApiAddress;
  credentials: Credentials;
  customHeaders: Readonly<Record<string, string>>;
  csrfEnabled: boolean;
  requestTimeoutMs: number;
  /** Sends one request, instead of `sendHttpRequest`. For a simulated network. */
  send?: typeof sendHttpRequest;
}

/** The attempts of one client, and what they have shown. */
export class Attempts {
  readonly #counts = new Map<string, number>();
  /** When an attempt last failed because the server could not be reached, on the monotonic clock. */
  lastOutageAt: number | undefined;
  /** True after the first response. From then on, a refused connection means that the server restarts. */
  hadResponse = false;
  readonly #csrf: CsrfToken;
  readonly #tokenHedge = new Hedge(["token", "token-again"]);

  /** `attribution` is for requests that have none of their own. */
  constructor(
    private readonly options: AttemptOptions,
    private readonly agents: Agents,
    private readonly attribution: RequestAttribution,
  ) {
    this.#csrf = new CsrfToken(options.csrfEnabled && !options.address.isCloud, (path) => this.#readToken(path));
  }

  /** The number of attempts by `<method> <status>`. The status is `none` if there was no response. */
  get counts(): ReadonlyMap<string, number> {
    return this.#counts;
  }

  /** Drops the CSRF token, because the server called it invalid. */
  forgetCsrfToken(): void {
    this.#csrf.forget();
  }

  /** Sends a request once, or twice at the same time if it has a hedge. Throws only what no network failure caused. */
  async send(method: string, path: string, request: RequestOptions): Promise<AttemptResult> {
    const { hedge, signal = neverAborts } = request;
    const result = hedge
      ? await hedge.attempt((lane, end) => this.#sendOnce(method, path, { ...request, lane, signal: end }), {
          agents: this.agents,
          signal,
          limitMs: this.options.requestTimeoutMs,
        })
      : await this.#sendOnce(method, path, request);
    const countKey = `${method} ${"response" in result ? result.response.status : "none"}`;
    this.#counts.set(countKey, (this.#counts.get(countKey) ?? 0) + 1);
    if (result.outcome.kind === "unreachable") this.lastOutageAt = monotonicMs();
    return result;
  }

  async #sendOnce(method: string, path: string, request: RequestOptions): Promise<AttemptResult> {
    const startedAt = monotonicMs();
    try {
      const headers = requestHeaders({
        authorization: this.options.credentials.current.header,
        customHeaders: this.options.customHeaders,
        ...(request.attribution ?? this.attribution),
      });
      if (request.body !== undefined) headers["Content-Type"] = "application/json";
      if (method !== "GET") Object.assign(headers, await this.#csrfHeaders(request));
      const { send = sendHttpRequest } = this.options;
      const response = await send({
        url: new URL(this.options.address.apiUrl + path),
        method,
        headers,
        body: bodyText(request),
        timeoutMs: this.options.requestTimeoutMs,
        startedAt,
        agents: this.agents,
        lane: request.lane ?? "request",
        maxBodyBytes: request.maxBodyBytes,
        signal: request.signal,
        isOnce: request.beforeRepeat !== undefined,
      });
      const result = attemptWithResponse(response, { method, path, ...request });
      this.hadResponse = true;
      return result;
    } catch (error) {
      return attemptWithError(error);
    }
  }

  /** Returns the headers with the CSRF token. Throws UnreachableError if there is none within the request's time. */
  async #csrfHeaders({ signal = neverAborts }: RequestOptions): Promise<Record<string, string>> {
    const { address, requestTimeoutMs } = this.options;
    const headers = await this.#csrf.headers(requestTimeoutMs, signal);
    if (headers) return headers;
    const error = new Error(`no CSRF token within ${requestTimeoutMs / 1000} s`);
    throw new UnreachableError(new URL(address.apiUrl).origin, "RESPONSE_TIMEOUT", error);
  }

  /**
   * Makes a single attempt, because the write that needs the token is retried itself. It is sent twice if it is slow, and
   * has lanes of its own, because all writes wait for it.
   */
  async #readToken(path: string): Promise<HttpResponse> {
    const result = await this.send("GET", path, { hedge: this.#tokenHedge });
    if ("response" in result) return result.response;
    throw result.error;
  }
}

function bodyText({ body, isBodyExact }: RequestOptions): string | undefined {
  if (body === undefined) return undefined;
  return isBodyExact ? stringifyExactJson(body) : JSON.stringify(body);
}
