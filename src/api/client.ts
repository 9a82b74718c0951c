// The HTTP client of the Prefect API. Retries transient failures, with other credentials if the server refuses them. Turns any
// other failure into an error that says what was tried and what was received.
import { monotonicMs } from "../async/clock.ts";
import { neverAborts } from "../async/never-aborts.ts";
import { sleep } from "../async/sleep.ts";
import type { Logger } from "../logger.ts";
import { Agents } from "./agents.ts";
import type { Api, ApiAddress } from "./api.ts";
import type { ParsedResponse } from "./attempt.ts";
import { type AttemptOptions, Attempts } from "./attempts.ts";
import type { AgentsOptions } from "./connection-options.ts";
import type { ApiError } from "./errors.ts";
import type { HttpResponse } from "./http-message.ts";
import { LongPauses } from "./long-pauses.ts";
import { isRetriedRefusal, RefusedReports, refusalPauseMs } from "./refused-reports.ts";
import { customAuthorization } from "./request-headers.ts";
import type { RequestAttribution, RequestOptions } from "./request-options.ts";
import { delayMs, isRetryable } from "./retry.ts";
import { toApiError } from "./to-api-error.ts";
import type { Json } from "./wire.ts";

/** The options of the client. Most of them are settings of the same name. */
export interface ApiClientOptions extends AttemptOptions {
  maxRetries: number;
  jitter: number;
  retryExtraCodes: ReadonlySet<number>;
  tls: AgentsOptions["tls"];
  proxyFor: AgentsOptions["proxyFor"];
  log: Logger;
  random: () => number;
}

/** A client of one API. Opens no connection before the first request. Disposing closes its sockets. */
export class ApiClient implements Api, Disposable {
  readonly address: ApiAddress;
  /** The HTTP agents, which WebSockets share. */
  readonly agents: Agents;
  readonly attribution: RequestAttribution = { workerName: null, workerId: null };
  /**
   * When a response last reported maintenance, on the monotonic clock. Requests are retried until the maintenance ends.
   */
  maintenanceAt: number | undefined;
  readonly #attempts: Attempts;
  /** True after the server has accepted the credentials. From then on, a refusal may be temporary. */
  #wasAuthorized = false;
  readonly #refusedReports: RefusedReports;
  readonly #longPauses: LongPauses;

  constructor(private readonly options: ApiClientOptions) {
    this.address = options.address;
    this.agents = new Agents({ tls: options.tls, proxyFor: options.proxyFor, timeoutMs: options.requestTimeoutMs });
    this.#attempts = new Attempts(options, this.agents, this.attribution);
    this.#longPauses = new LongPauses(options.log);
    this.#refusedReports = new RefusedReports(options.log);
  }

  /** The number of attempts by `<method> <status>`. The status is `none` if there was no response. */
  get attemptCounts(): ReadonlyMap<string, number> {
    return this.#attempts.counts;
  }

  /** When an attempt last failed because the server could not be reached, on the monotonic clock. */
  get lastOutageAt(): number | undefined {
    return this.#attempts.lastOutageAt;
  }

  async request(method: string, path: string, request: RequestOptions = {}): Promise<Json> {
    const { response, value } = await this.#sendThroughRefusals(method, path, request);
    if (response.status < 200 || response.status > 299) throw this.toApiError(method, path, response);
    return request.text ? response.body : value;
  }

  async requestRaw(method: string, path: string, request: RequestOptions = {}): Promise<HttpResponse> {
    const { response } = await this.#sendThroughRefusals(method, path, { ...request, text: true });
    return response;
  }

  toApiError(method: string, path: string, response: HttpResponse): ApiError {
    const { credentials, customHeaders } = this.options;
    return toApiError({ method, path, ...this.address, authorization: credentials.current, customHeaders }, response);
  }

  /** Returns an Api that sends requests on behalf of one of several workers, with this client. */
  as(attribution: RequestAttribution): Api {
    return {
      address: this.address,
      attribution,
      request: (method, path, request) => this.request(method, path, { ...request, attribution }),
      requestRaw: (method, path, request) => this.requestRaw(method, path, { ...request, attribution }),
      toApiError: (method, path, response) => this.toApiError(method, path, response),
    };
  }

  [Symbol.dispose](): void {
    this.agents[Symbol.dispose]();
  }

  /** Sends the request. Retries refusals without limit if the request has `retriesRefusals`. */
  async #sendThroughRefusals(method: string, path: string, request: RequestOptions): Promise<ParsedResponse> {
    const { jitter, random } = this.options;
    let received = await this.#sendWithAnyCredentials(method, path, request);
    const { retriesRefusals = false } = request;
    if (!this.#wasAuthorized || !isRetriedRefusal(received.response, retriesRefusals)) return received;
    this.#refusedReports.begin(this.toApiError(method, path, received.response));
    try {
      for (let refusals = 1; isRetriedRefusal(received.response, retriesRefusals); refusals++) {
        await sleep(refusalPauseMs(refusals, jitter, random), request.signal ?? neverAborts);
        request.signal?.throwIfAborted();
        const found = await request.beforeRepeat?.();
        received =
          found === undefined
            ? await this.#sendWithAnyCredentials(method, path, request)
            : this.#responseFound(path, found);
      }
      return received;
    } finally {
      this.#refusedReports.end(!isRetriedRefusal(received.response, retriesRefusals));
    }
  }

  /** Sends the request. After a 401, sends it again with a rotated secret or with the fallback credentials. */
  async #sendWithAnyCredentials(method: string, path: string, request: RequestOptions): Promise<ParsedResponse> {
    const { credentials, customHeaders } = this.options;
    const isReplacedByHeader = customAuthorization(customHeaders) !== undefined;
    for (let repeated = 0; ; repeated++) {
      const used = credentials.current;
      const received = await this.#send(method, path, request);
      const { response } = received;
      if (response.status < 300 && !unauthenticatedPath.test(path)) {
        credentials.markAccepted();
        this.#wasAuthorized = true;
      }
      if (response.status !== 401 || isReplacedByHeader || repeated === maxCredentialChanges) return received;
      const isReplaced = await credentials.waitForReplacement(used, request.signal ?? neverAborts);
      request.signal?.throwIfAborted();
      if (!isReplaced) return received;
    }
  }

  /** Sends until a response or an error needs no retry. Returns that response, or throws that error. */
  async #send(method: string, path: string, request: RequestOptions): Promise<ParsedResponse> {
    const { maxRetries, jitter, retryExtraCodes, random, log } = this.options;
    for (let failed = 0; ; ) {
      // An endless request is about a flow run that this or an earlier process claimed here, so the URL is right.
      const hadResponse = this.#attempts.hadResponse || request.endless === true;
      const result = await this.#attempts.send(method, path, request);
      request.signal?.throwIfAborted();
      const { outcome } = result;
      if (outcome.kind === "response" && outcome.staleCsrf) this.#attempts.forgetCsrfToken();
      if (outcome.kind === "response" && outcome.maintenance) this.maintenanceAt = monotonicMs();
      else failed++;
      const retryable = isRetryable(outcome, hadResponse, retryExtraCodes);
      // The request did not cause these failures.
      const isServerFault = outcome.kind === "response" && (outcome.status >= 500 || outcome.foreign);
      // An unexpected response is likely to be the same next time.
      const isRetriedForever = request.endless && outcome.kind !== "unexpected";
      if (isRetriedForever ? !(retryable || isServerFault) : !retryable || failed > maxRetries) {
        if ("response" in result) return result;
        throw result.error;
      }
      const retryAfterMs = outcome.kind === "response" ? outcome.retryAfterMs : undefined;
      const waitMs = delayMs(Math.max(failed, 1), retryAfterMs, jitter, random);
      log.debug({ method, path, attempt: outcome, wait_ms: Math.round(waitMs) }, "request failed, will be repeated");
      this.#longPauses.warn(`${method} ${path}`, retryAfterMs, waitMs);
      await sleep(waitMs, request.signal ?? neverAborts);
      request.signal?.throwIfAborted();
      const found = await request.beforeRepeat?.();
      if (found !== undefined) return this.#responseFound(path, found);
    }
  }

  /** Returns the response to a request that needs no retry, because its effect on the server was found. */
  #responseFound(path: string, value: Json): ParsedResponse {
    return {
      response: { status: 200, headers: {}, body: "", url: new URL(this.address.apiUrl + path), sent: {} },
      value,
    };
  }
}

/** Routes that need no credentials. Source: prefect server/api/server.py token_validation. */
const unauthenticatedPath = /\/(health|ready)$/;

/** First a rotated secret and then the fallback, so a request meets at most two changes. */
const maxCredentialChanges = 2;
