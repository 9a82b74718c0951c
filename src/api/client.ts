// request(): the one way to the Prefect API over HTTP. Adds address, credentials, CSRF and headers, repeats what may
// succeed the second time, and turns everything else into an error that says what was tried and what came back.

import { setMaxListeners } from "node:events";
import { monotonicMs, wallClockMs } from "../async/clock.ts";
import { sleep } from "../async/sleep.ts";
import type { Logger } from "../logger.ts";
import { apiVersion, userAgent } from "../version.ts";
import { Agents, type AgentsOptions } from "./agents.ts";
import type { Credentials } from "./credentials.ts";
import { CsrfToken, NoTokenError } from "./csrf.ts";
import { type ApiError, UndecodableResponseError, UnexpectedAnswerError, UnreachableError } from "./errors.ts";
import { utf8Header } from "./header-text.ts";
import { type HttpResponse, sendHttpRequest } from "./http-request.ts";
import type { Check } from "./json-check.ts";
import { refusal } from "./refusal.ts";
import { type Attempt, delayMs, isRetryable, parseRetryAfterMs } from "./retry.ts";
import type { Json } from "./wire.ts";

/** Where the API is. */
export interface ApiAddress {
  /** Without a trailing slash. */
  apiUrl: string;
  isCloud: boolean;
}

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

/** What a single request may ask for. */
export interface RequestOptions {
  body?: Json | undefined;
  /** Ends waiting and retrying; the abort reason is thrown. */
  signal?: AbortSignal | undefined;
  /** Repeat for as long as the failure is one that may pass (any 5xx included), instead of `maxRetries` times. */
  endless?: boolean;
  /** Asked before each repetition: what it gives is the response, and nothing is repeated. */
  beforeRepeat?: (() => Promise<Json | undefined>) | undefined;
  /** The response is plain text, not JSON. */
  text?: boolean;
  /** What a successful response has to look like. Another one is asked for `maxRetries` times again, even if `endless`. */
  shape?: Check | undefined;
}

/** Headers the client owns: a custom one of these names is left out. Source: prefect client/base.py. */
const protectedHeaders: ReadonlySet<string> = new Set(["user-agent", "prefect-csrf-token", "prefect-csrf-client"]);

/** A connection to one API; opens nothing until the first request. Disposing closes its idle sockets. */
export class ApiClient implements Disposable {
  readonly address: ApiAddress;
  /** Sockets share them. */
  readonly agents: Agents;
  /** Sent with every request once known: who asks. Source: prefect client/attribution.py. */
  readonly attribution: { workerName: string | null; workerId: string | null } = { workerName: null, workerId: null };
  /** Attempts at requests so far, by `<method> <status>`, the status being `none` where there was no response. */
  readonly attemptCounts = new Map<string, number>();
  /** When a response said last, on the monotonic clock, that the API is down for maintenance; such requests are repeated until it is over. */
  maintenanceAt: number | undefined;
  readonly #csrf: CsrfToken;
  /** True once this client has had an response: from then on a refused connection is a server that restarts. */
  #hadContact = false;

  constructor(private readonly options: ApiClientOptions) {
    this.address = options.address;
    this.agents = new Agents({ tls: options.tls, proxyFor: options.proxyFor, timeoutMs: options.requestTimeoutMs });
    this.#csrf = new CsrfToken(options.csrfEnabled && !options.address.isCloud);
  }

  /** The parsed response of a 2xx, null for an empty one. Throws ApiError, UnreachableError, UndecodableResponseError, UnexpectedAnswerError. */
  async request(method: string, path: string, request: RequestOptions = {}): Promise<Json> {
    const response = await this.#sendAuthorized(method, path, request);
    if (response.status < 200 || response.status > 299) throw this.refusal(method, path, response);
    if (request.text) return response.body;
    return response.body === "" ? null : (JSON.parse(response.body) as Json);
  }

  /** The response as it came, whatever its status. Throws UnreachableError. */
  async requestRaw(method: string, path: string, request: RequestOptions = {}): Promise<HttpResponse> {
    return await this.#sendAuthorized(method, path, { ...request, text: true });
  }

  /** The error for an response outside 2xx. */
  refusal(method: string, path: string, response: HttpResponse): ApiError {
    return refusal({ method, path, ...this.address, authorization: this.options.credentials.current }, response);
  }

  [Symbol.dispose](): void {
    this.agents[Symbol.dispose]();
  }

  /** Sends, and after a 401 once more for everything else there is to authenticate with. */
  async #sendAuthorized(method: string, path: string, request: RequestOptions): Promise<HttpResponse> {
    const { credentials } = this.options;
    for (let repeated = 0; ; repeated++) {
      const used = credentials.current;
      const response = await this.#send(method, path, request);
      if (response.status < 300 && !openPath.test(path)) credentials.accepted();
      if (response.status !== 401 || repeated === credentialChanges) return response;
      const isReplaced = await credentials.replaced(used, request.signal ?? never);
      request.signal?.throwIfAborted();
      if (!isReplaced) return response;
    }
  }

  /** Sends until there is an response that is not to be repeated; throws what the last attempt threw. */
  async #send(method: string, path: string, request: RequestOptions): Promise<HttpResponse> {
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
      // Neither is a word of the API on what was asked.
      const isFault = attempt.kind === "answer" && (attempt.status >= 500 || attempt.foreign);
      // What is the same for ever would be asked for ever.
      const isEndless = request.endless && attempt.kind !== "unexpected";
      if (isEndless ? !(retryable || isFault) : !retryable || failed > maxRetries) {
        if ("response" in result) return result.response;
        throw result.error;
      }
      const retryAfterMs = attempt.kind === "answer" ? attempt.retryAfterMs : undefined;
      const waitMs = delayMs(Math.max(failed, 1), retryAfterMs, jitter, random);
      log.debug({ method, path, attempt, wait_ms: Math.round(waitMs) }, "request failed, will be repeated");
      await sleep(waitMs, request.signal ?? never);
      request.signal?.throwIfAborted();
      const known = await request.beforeRepeat?.();
      if (known !== undefined) return { status: 200, headers: {}, body: JSON.stringify(known), url: this.#url(path) };
    }
  }

  async #attempt(method: string, path: string, request: RequestOptions): Promise<Tried> {
    const tried = await this.#try(method, path, request);
    const outcome = `${method} ${"response" in tried ? tried.response.status : "none"}`;
    this.attemptCounts.set(outcome, (this.attemptCounts.get(outcome) ?? 0) + 1);
    return tried;
  }

  async #try(method: string, path: string, request: RequestOptions): Promise<Tried> {
    try {
      const headers = this.#headers();
      if (request.body !== undefined) headers["Content-Type"] = "application/json";
      if (method !== "GET") {
        const get = async (at: string) => await this.#readToken(at, request.signal);
        Object.assign(headers, await this.#csrf.headers(get, request.signal));
      }
      const response = await sendHttpRequest({
        url: this.#url(path),
        method,
        headers,
        body: request.body === undefined ? undefined : JSON.stringify(request.body),
        timeoutMs: this.options.requestTimeoutMs,
        agents: this.agents,
        signal: request.signal,
        isOnce: request.beforeRepeat !== undefined,
      });
      if (!request.text) checkDecodable(method, path, response, request.shape);
      this.#hadContact = true;
      return { response, attempt: describeAnswer(response) };
    } catch (error) {
      // Without a token the write would be refused for that, whatever the reason is.
      if (error instanceof NoTokenError) return { response: error.response, attempt: describeAnswer(error.response) };
      if (error instanceof UndecodableResponseError) return { error, attempt: { kind: "undecodable" } };
      if (error instanceof UnexpectedAnswerError) return { error, attempt: { kind: "unexpected" } };
      if (error instanceof UnreachableError) return { error, attempt: { kind: "unreachable", code: error.code } };
      throw error;
    }
  }

  /** One attempt: the write that needs the token is what is repeated. */
  async #readToken(path: string, signal: AbortSignal | undefined): Promise<HttpResponse> {
    const tried = await this.#attempt("GET", path, { signal });
    if ("response" in tried) return tried.response;
    throw tried.error;
  }

  #url(path: string): URL {
    return new URL(this.address.apiUrl + path);
  }

  #headers(): Record<string, string> {
    const { workerName, workerId } = this.attribution;
    const headers: Record<string, string> = {
      Accept: "application/json",
      "User-Agent": userAgent,
      "X-PREFECT-API-VERSION": apiVersion,
    };
    const { header } = this.options.credentials.current;
    if (header) headers.Authorization = header;
    if (workerName) headers["X-Prefect-Worker-Name"] = utf8Header(workerName);
    if (workerId) headers["X-Prefect-Worker-Id"] = workerId;
    for (const [name, value] of Object.entries(this.options.customHeaders)) {
      const lower = name.toLowerCase();
      if (protectedHeaders.has(lower)) continue;
      for (const known of Object.keys(headers)) if (known.toLowerCase() === lower) delete headers[known];
      headers[name] = utf8Header(value);
    }
    return headers;
  }
}

/** An response, or the error there was instead, and what either means for trying again. */
type Tried = { attempt: Attempt } & ({ response: HttpResponse } | { error: Error });

/** Answered to everybody. Source: prefect server/api/server.py token_validation. */
const openPath = /\/(health|ready)$/;

/** A rotated secret and then the fallback: no request meets more changes than these. */
const credentialChanges = 2;

/** What a request without a signal waits on. */
const never = new AbortController().signal;
setMaxListeners(0, never);

function checkDecodable(method: string, path: string, { status, body, headers }: HttpResponse, shape?: Check): void {
  if (status < 200 || status > 299 || (body === "" && !shape)) return;
  let value: Json;
  try {
    value = JSON.parse(body) as Json;
  } catch {
    throw new UndecodableResponseError(method, path, status, headers["content-type"] ?? "");
  }
  if (shape && !shape(value)) throw new UnexpectedAnswerError(method, path, status);
}

function describeAnswer(response: HttpResponse): Attempt {
  return {
    kind: "answer",
    status: response.status,
    retryAfterMs: parseRetryAfterMs(response.headers["retry-after"], wallClockMs()),
    maintenance: String(response.headers["prefect-maintenance"]).toLowerCase() === "true",
    foreign: response.status === 404 && !/json/i.test(response.headers["content-type"] ?? ""),
    staleCsrf: response.status === 403 && response.body.includes("Invalid CSRF token"),
  };
}
