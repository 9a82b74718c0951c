// The client of a Kubernetes API server, over lictor's own HTTP: TLS, proxies, deadlines, retries and credentials.
import { setMaxListeners } from "node:events";
import { Agents } from "../../../api/agents.ts";
import { UnreachableError } from "../../../api/errors.ts";
import type { HttpResponse } from "../../../api/http-message.ts";
import type { Check } from "../../../api/json-check.ts";
import { delayMs, parseRetryAfterMs } from "../../../api/retry.ts";
import type { Json } from "../../../api/wire.ts";
import { monotonicMs, wallClockMs } from "../../../async/clock.ts";
import { sleep } from "../../../async/sleep.ts";
import { chooseProxy } from "../../../settings/proxy.ts";
import { userAgent } from "../../../version.ts";
import type { Call, Query } from "./call.ts";
import type { ClusterAccess, Credentials, Environment } from "./cluster-access.ts";
import { ClusterError, ClusterUnreachableError, isTransient, isUnauthorized } from "./cluster-error.ts";
import { explainConnection } from "./explain-connection.ts";
import type { StatusBody } from "./explain-status.ts";
import type { Outage } from "./outage.ts";
import { overHttp, type StreamResponse, type Transport } from "./transport.ts";

const usualLimitMs = 30_000;
const usualRetries = 3;
/** The variation of the pauses between retries. */
const jitter = 0.3;

/** Everything that speaks to one API server as one user shares one. */
export class Cluster implements Disposable {
  #agents: { readonly certificate: Credentials["certificate"]; readonly opened: Agents } | undefined;
  /** The time that the last response named, and when it came. */
  #time: { readonly ms: number; readonly at: number } | null = null;

  /** Ends the calls that nobody else ends. */
  readonly #over = new AbortController();

  constructor(
    readonly access: ClusterAccess,
    /** What is known of the connection. Its `problem` is null while the API server answers. */
    readonly outage: Outage,
    private readonly environment: Environment,
    readonly transport: Transport = overHttp,
  ) {
    // Many calls may wait at a time, and Node.js warns of more than ten listeners.
    setMaxListeners(0, this.#over.signal);
  }

  /**
   * Sends a request and returns the JSON of the response. Repeats it after transient failures: 408, 429, 5xx and lost
   * connections, so a write may be executed twice. Renews the credentials once after a 401. Throws ClusterError,
   * ClusterUnreachableError, ClusterConfigError, and the reason of the call's signal.
   */
  async request<T = unknown>(method: string, path: string, call: Call = {}): Promise<T> {
    return (await this.#send(method, path, call, (body) => this.#parse(body, call.shape))) as T;
  }

  /** Like `request`, for a response that is plain text, such as a log. */
  async requestText(method: string, path: string, call: Call = {}): Promise<string> {
    return await this.#send(method, path, call, (body) => body);
  }

  async #send<T>(method: string, path: string, call: Call, read: (body: string) => T): Promise<T> {
    return await this.#repeat(call, async (credentials) => {
      const url = this.#urlOf(path, call.query);
      const body = call.body === undefined ? undefined : JSON.stringify(call.body);
      const contentType = body === undefined ? undefined : (call.contentType ?? "application/json");
      const request = {
        ...this.#commonOf(call, credentials),
        url,
        method,
        headers: this.#headers(credentials, contentType),
        body,
        lane: "request",
        ...(call.isOnce && { isOnce: true }),
      } as const;
      const response = await this.transport.send(request).catch((error: unknown) => {
        throw this.#explain(error);
      });
      const timeMs = Date.parse(response.headers.date ?? "");
      if (!Number.isNaN(timeMs)) this.#time = { ms: timeMs, at: monotonicMs() };
      if (response.status < 200 || response.status > 299) throw this.#toError(response, method, path, credentials);
      return read(response.body);
    });
  }

  /**
   * Sends a GET request and returns the response as soon as it begins, for a stream without an end. The stream fails when
   * the call's signal aborts. Throws as `request` does.
   */
  async open(path: string, call: Call = {}): Promise<StreamResponse> {
    return await this.#repeat(call, async (credentials) => {
      const url = this.#urlOf(path, call.query);
      const headers = this.#headers(credentials);
      const request = { ...this.#commonOf(call, credentials), url, method: "GET", headers };
      const response = await this.transport.open(request).catch((error: unknown) => {
        throw this.#explain(error);
      });
      const { statusCode: status = 0 } = response;
      if (status >= 200 && status < 300) return response;
      const body = await readStart(response);
      throw this.#toError({ status, headers: response.headers, body }, "GET", path, credentials);
    });
  }

  /**
   * Returns the time in ms since 1970 by the clock of the API server, to the second. That of this machine may be another one, and counts
   * only before the first response.
   */
  clockMs(): number {
    return this.#time ? this.#time.ms + monotonicMs() - this.#time.at : wallClockMs();
  }

  /** Returns the error as this client throws it, for the reader of a stream. */
  explainLostStream(error: unknown, { signal }: Pick<Call, "signal">): unknown {
    if (signal?.aborted) return signal.reason;
    const { code, name } = error as NodeJS.ErrnoException;
    return this.#explain(new UnreachableError(this.access.server, code ?? name, error));
  }

  [Symbol.dispose](): void {
    this.#over.abort(new Error("the cluster is not used any more"));
    this.#agents?.opened[Symbol.dispose]();
  }

  async #repeat<T>(call: Call, attempt: (credentials: Credentials) => Promise<T>): Promise<T> {
    const { signal = this.#over.signal, retries = usualRetries } = call;
    let isRenewed = false;
    for (let failed = 1; ; ) {
      signal.throwIfAborted();
      let used: Credentials | undefined;
      try {
        used = await this.access.credentials.read(signal);
        const result = await attempt(used);
        this.outage.answered();
        return result;
      } catch (error) {
        signal.throwIfAborted();
        if (used && isUnauthorized(error)) {
          this.access.credentials.renew(used);
          const wasRenewed = isRenewed;
          isRenewed = true;
          if (!wasRenewed) continue;
        }
        if (!call.asksNode || !(error instanceof ClusterError)) this.outage.failed(error);
        if (!isTransient(error) || failed > retries) throw error;
        const asked = error instanceof ClusterError ? error.retryAfterMs : undefined;
        await sleep(delayMs(failed, asked, jitter, this.transport.random), signal);
        failed += 1;
      }
    }
  }

  #parse(body: string, shape?: Check): unknown {
    let value: Json | undefined;
    try {
      value = JSON.parse(body || "null") as Json;
    } catch {
      // An error of JSON.parse quotes the body, which may have secrets. So it is no cause.
    }
    if (value !== undefined && (!shape || shape(value))) return value;
    const explanation = "what answers there is no Kubernetes API. Check the URL of the cluster, and any proxy.";
    throw new ClusterUnreachableError(this.access.server, "NO_KUBERNETES", explanation);
  }

  #urlOf(path: string, query: Query = {}): URL {
    const url = new URL(`${this.access.server}${path}`);
    for (const [name, value] of Object.entries(query)) if (value !== undefined) url.searchParams.set(name, `${value}`);
    return url;
  }

  #headers({ authorization }: Credentials, contentType?: string): Record<string, string> {
    return {
      Accept: "application/json, */*",
      "Accept-Encoding": "identity",
      "User-Agent": userAgent,
      ...this.access.headers,
      ...(contentType !== undefined && { "Content-Type": contentType }),
      ...(authorization !== null && { Authorization: authorization }),
    };
  }

  #commonOf({ limitMs = usualLimitMs, signal = this.#over.signal }: Call, credentials: Credentials) {
    return { timeoutMs: limitMs, agents: this.#agentsFor(credentials), signal };
  }

  /** A new client certificate needs new connections. The old ones close when they have been idle. */
  #agentsFor({ certificate }: Credentials): Agents {
    const current = this.#agents;
    if (current && sameCertificate(current.certificate, certificate)) return current.opened;
    const { tls, proxy } = this.access;
    const opened = new Agents({
      tls: { ...tls, ...certificate },
      proxyFor: (url) => proxy ?? chooseProxy(url, this.environment),
      timeoutMs: usualLimitMs,
    });
    this.#agents = { certificate, opened };
    return opened;
  }

  #explain(error: unknown): unknown {
    if (!(error instanceof UnreachableError)) return error;
    const { server } = this.access;
    return new ClusterUnreachableError(server, error.code, explainConnection(error), { cause: error.cause });
  }

  #toError(
    { status, headers, body }: Pick<HttpResponse, "status" | "headers" | "body">,
    method: string,
    path: string,
    { authorization }: Credentials,
  ): ClusterError {
    const { server, origin } = this.access;
    // A proxy may repeat the request in its answer.
    const secret = authorization?.split(" ").at(-1);
    const shown = secret ? body.replaceAll(secret, "********") : body;
    const retryAfterMs = parseRetryAfterMs(headers["retry-after"], wallClockMs());
    return new ClusterError(status, toStatusBody(shown), { method, path, server, origin }, retryAfterMs);
  }
}

function sameCertificate(one: Credentials["certificate"], other: Credentials["certificate"]): boolean {
  return one?.cert === other?.cert && one?.key === other?.key;
}

/** Returns the API server's explanation. Others answer with text or a web page. */
function toStatusBody(body: string): StatusBody {
  try {
    const value = JSON.parse(body) as (StatusBody & { readonly kind?: string }) | null;
    if (typeof value === "object" && value?.kind === "Status") return value;
  } catch {
    // It is no JSON.
  }
  const isPage = /^\s*</.test(body);
  return { message: isPage ? "a web page, not the Kubernetes API" : body };
}

/** An error is short. A web page may not be. */
const longestErrorBytes = 64 * 1024;

async function readStart(response: StreamResponse): Promise<string> {
  let text = "";
  try {
    for await (const chunk of response) {
      text += String(chunk);
      if (text.length > longestErrorBytes) break;
    }
  } catch {
    // What has arrived is enough.
  }
  return text;
}
