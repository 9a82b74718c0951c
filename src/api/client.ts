// request(): the one way to the Prefect API over HTTP. Adds address, credentials, CSRF and headers, repeats what may
// succeed the second time, and turns everything else into an error that says what was tried and what came back.

import { setMaxListeners } from "node:events";
import { monotonicMs } from "../async/clock.ts";
import { sleep } from "../async/sleep.ts";
import { stringifyExactJson } from "../exact-json.ts";
import type { Logger } from "../logger.ts";
import { Agents } from "./agents.ts";
import type { Api, ApiAddress } from "./api.ts";
import { fail, type Received, receive, type Tried } from "./attempt.ts";
import type { AgentsOptions } from "./connection-options.ts";
import type { Credentials } from "./credentials.ts";
import { CsrfToken } from "./csrf.ts";
import type { ApiError } from "./errors.ts";
import type { HttpResponse } from "./http-message.ts";
import { sendHttpRequest } from "./http-request.ts";
import { LongPauses } from "./long-pauses.ts";
import { refusal } from "./refusal.ts";
import { isRefusal, RefusedReports, refusalPauseMs } from "./refused-reports.ts";
import { customAuthorization, requestHeaders } from "./request-headers.ts";
import type { RequestAttribution, RequestOptions } from "./request-options.ts";
import { delayMs, isRetryable } from "./retry.ts";
import type { Json } from "./wire.ts";

/** How the client behaves; each value is a setting of that name. */
export interface ApiClientOptions {
  address: ApiAddress;
  credentials: Credentials;
  customHeaders: Readonly<Record<string, string>>;
  csrfEnabled: boolean;
  requestTimeoutMs: number;
  maxRetries: number;
  jitter: number;
  retryExtraCodes: ReadonlySet<number>;
  tls: AgentsOptions["tls"];
  proxyFor: AgentsOptions["proxyFor"];
  log: Logger;
  random: () => number;
}

/** A connection to one API; opens nothing until the first request. Disposing closes its idle sockets. */
export class ApiClient implements Api, Disposable {
  readonly address: ApiAddress;
  /** Sockets share them. */
  readonly agents: Agents;
  readonly attribution: RequestAttribution = { workerName: null, workerId: null };
  /** Attempts at requests so far, by `<method> <status>`, the status being `none` where there was no response. */
  readonly attemptCounts = new Map<string, number>();
  /** When a response said last, on the monotonic clock, that the API is down for maintenance; such requests are repeated until it is over. */
  maintenanceAt: number | undefined;
  readonly #csrf: CsrfToken;
  /** True once this client has had a response: from then on a refused connection is a server that restarts. */
  #hadContact = false;
  /** True once the server has taken the credentials: from then on a refusal may be over some day. */
  #wasAccepted = false;
  readonly #refusedReports: RefusedReports;
  readonly #longPauses: LongPauses;

  constructor(private readonly options: ApiClientOptions) {
    this.address = options.address;
    this.agents = new Agents({ tls: options.tls, proxyFor: options.proxyFor, timeoutMs: options.requestTimeoutMs });
    this.#longPauses = new LongPauses(options.log);
    this.#refusedReports = new RefusedReports(options.log);
    this.#csrf = new CsrfToken(options.csrfEnabled && !options.address.isCloud);
  }

  async request(method: string, path: string, request: RequestOptions = {}): Promise<Json> {
    const { response, value } = await this.#sendAuthorized(method, path, request);
    if (response.status < 200 || response.status > 299) throw this.refusal(method, path, response);
    return request.text ? response.body : value;
  }

  async requestRaw(method: string, path: string, request: RequestOptions = {}): Promise<HttpResponse> {
    const { response } = await this.#sendAuthorized(method, path, { ...request, text: true });
    return response;
  }

  refusal(method: string, path: string, response: HttpResponse): ApiError {
    const { credentials, customHeaders } = this.options;
    return refusal({ method, path, ...this.address, authorization: credentials.current, customHeaders }, response);
  }

  /** The same API, for one of several workers that share this client. */
  as(attribution: RequestAttribution): Api {
    return {
      address: this.address,
      attribution,
      request: (method, path, request) => this.request(method, path, { ...request, attribution }),
      requestRaw: (method, path, request) => this.requestRaw(method, path, { ...request, attribution }),
      refusal: (method, path, response) => this.refusal(method, path, response),
    };
  }

  [Symbol.dispose](): void {
    this.agents[Symbol.dispose]();
  }

  /** Sends, and repeats what is refused if the request outlasts that. */
  async #sendAuthorized(method: string, path: string, request: RequestOptions): Promise<Received> {
    const { jitter, random } = this.options;
    let received = await this.#sendWithCredentials(method, path, request);
    if (!request.outlastsRefusals || !this.#wasAccepted || !isRefusal(received.response)) return received;
    this.#refusedReports.begin(this.refusal(method, path, received.response));
    try {
      for (let refusals = 1; isRefusal(received.response); refusals++) {
        await sleep(refusalPauseMs(refusals, jitter, random), request.signal ?? never);
        request.signal?.throwIfAborted();
        const known = await request.beforeRepeat?.();
        received =
          known === undefined
            ? await this.#sendWithCredentials(method, path, request)
            : this.#knownResponse(path, known);
      }
      return received;
    } finally {
      this.#refusedReports.end(!isRefusal(received.response));
    }
  }

  /** Sends, and after a 401 once more for everything else there is to authenticate with. */
  async #sendWithCredentials(method: string, path: string, request: RequestOptions): Promise<Received> {
    const { credentials, customHeaders } = this.options;
    const isOverruled = customAuthorization(customHeaders) !== undefined;
    for (let repeated = 0; ; repeated++) {
      const used = credentials.current;
      const received = await this.#send(method, path, request);
      const { response } = received;
      if (response.status < 300 && !openPath.test(path)) {
        credentials.accepted();
        this.#wasAccepted = true;
      }
      if (response.status !== 401 || isOverruled || repeated === credentialChanges) return received;
      const isReplaced = await credentials.replaced(used, request.signal ?? never);
      request.signal?.throwIfAborted();
      if (!isReplaced) return received;
    }
  }

  /** Sends until there is a response that is not to be repeated; throws what the last attempt threw. */
  async #send(method: string, path: string, request: RequestOptions): Promise<Received> {
    const { maxRetries, jitter, retryExtraCodes, random, log } = this.options;
    for (let failed = 0; ; ) {
      const hadContact = this.#hadContact;
      const result = await this.#attempt(method, path, request);
      request.signal?.throwIfAborted();
      const { attempt } = result;
      if (attempt.kind === "answer" && attempt.staleCsrf) this.#csrf.forget();
      if (attempt.kind === "answer" && attempt.maintenance) this.maintenanceAt = monotonicMs();
      else failed++;
      const retryable = isRetryable(attempt, hadContact, retryExtraCodes);
      // Neither says anything about the request itself.
      const isFault = attempt.kind === "answer" && (attempt.status >= 500 || attempt.foreign);
      // An unexpected response is likely to be the same next time.
      const isEndless = request.endless && attempt.kind !== "unexpected";
      if (isEndless ? !(retryable || isFault) : !retryable || failed > maxRetries) {
        if ("response" in result) return result;
        throw result.error;
      }
      const retryAfterMs = attempt.kind === "answer" ? attempt.retryAfterMs : undefined;
      const waitMs = delayMs(Math.max(failed, 1), retryAfterMs, jitter, random);
      log.debug({ method, path, attempt, wait_ms: Math.round(waitMs) }, "request failed, will be repeated");
      this.#longPauses.warn(`${method} ${path}`, retryAfterMs, waitMs);
      await sleep(waitMs, request.signal ?? never);
      request.signal?.throwIfAborted();
      const known = await request.beforeRepeat?.();
      if (known !== undefined) return this.#knownResponse(path, known);
    }
  }

  async #attempt(method: string, path: string, request: RequestOptions): Promise<Tried> {
    const { hedge, signal = never } = request;
    const tried = hedge
      ? await hedge.attempt((lane, end) => this.#try(method, path, { ...request, lane, signal: end }), {
          agents: this.agents,
          signal,
          limitMs: this.options.requestTimeoutMs,
        })
      : await this.#try(method, path, request);
    const outcome = `${method} ${"response" in tried ? tried.response.status : "none"}`;
    this.attemptCounts.set(outcome, (this.attemptCounts.get(outcome) ?? 0) + 1);
    return tried;
  }

  async #try(method: string, path: string, request: RequestOptions): Promise<Tried> {
    try {
      const headers = requestHeaders({
        authorization: this.options.credentials.current.header,
        customHeaders: this.options.customHeaders,
        ...(request.attribution ?? this.attribution),
      });
      if (request.body !== undefined) headers["Content-Type"] = "application/json";
      if (method !== "GET") {
        const get = async (at: string) => await this.#readToken(at, request);
        Object.assign(headers, await this.#csrf.headers(get, request.signal));
      }
      const response = await sendHttpRequest({
        url: this.#url(path),
        method,
        headers,
        body: bodyText(request),
        timeoutMs: this.options.requestTimeoutMs,
        agents: this.agents,
        lane: request.lane ?? "request",
        maxBodyBytes: request.maxBodyBytes,
        signal: request.signal,
        isOnce: request.beforeRepeat !== undefined,
      });
      const tried = receive(response, { method, path, ...request });
      this.#hadContact = true;
      return tried;
    } catch (error) {
      return fail(error);
    }
  }

  /** The response to a request that need not be repeated, because its effect has been found. */
  #knownResponse(path: string, value: Json): Received {
    return { response: { status: 200, headers: {}, body: "", url: this.#url(path), sent: {} }, value };
  }

  /** One attempt: the write that needs the token is what is repeated. */
  async #readToken(path: string, { signal, lane, attribution }: RequestOptions): Promise<HttpResponse> {
    const tried = await this.#attempt("GET", path, { signal, lane, attribution });
    if ("response" in tried) return tried.response;
    throw tried.error;
  }

  #url(path: string): URL {
    return new URL(this.address.apiUrl + path);
  }
}

function bodyText({ body, isBodyExact }: RequestOptions): string | undefined {
  if (body === undefined) return undefined;
  return isBodyExact ? stringifyExactJson(body) : JSON.stringify(body);
}

/** Answered to everybody. Source: prefect server/api/server.py token_validation. */
const openPath = /\/(health|ready)$/;

/** A rotated secret and then the fallback: no request meets more changes than these. */
const credentialChanges = 2;

/** What a request without a signal waits on. */
const never = new AbortController().signal;
setMaxListeners(0, never);
