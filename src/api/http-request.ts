// One HTTP request and its whole response, through node:http or node:https: nothing about Prefect, nothing repeated.
import http from "node:http";
import https from "node:https";
import type { Agents } from "./agents.ts";
import { UnreachableError } from "./errors.ts";
import { proxyRefusal } from "./proxy-failure.ts";

/** A whole response; header names are lower case. */
export interface HttpResponse {
  status: number;
  headers: http.IncomingHttpHeaders;
  body: string;
  /** Where it came from, after redirects. */
  url: URL;
}

/** A request to send. `timeoutMs` bounds every silence: connecting, waiting for the response, and within it. */
export interface HttpRequest {
  url: URL;
  method: string;
  headers: Readonly<Record<string, string>>;
  body?: string | undefined;
  timeoutMs: number;
  agents: Agents;
  signal?: AbortSignal | undefined;
  /** Is sent once at most, even if the connection turns out to have been closed. */
  isOnce?: boolean;
}

/** No response of the API comes near this; more is somebody else's download. */
const maxBodyBytes = 64 * 1024 * 1024;

/**
 * Sends one request and reads the response to its end, following up to five redirects.
 * Throws UnreachableError when there is none, it is cut short or `timeoutMs` pass in silence; the abort reason of
 * `signal` when that ends it.
 */
export async function sendHttpRequest(request: HttpRequest): Promise<HttpResponse> {
  let current = request;
  for (let hops = 0; ; hops++) {
    const response = await sendOnce(current);
    const location = response.headers.location;
    if (response.status < 300 || response.status > 399 || !location || hops === 5) return response;
    if (!URL.canParse(location, current.url.href)) return response;
    current = redirected(current, new URL(location, current.url), response.status);
  }
}

/** Follows as browsers do: 301 to 303 turn into GET, another origin does not get the credentials. */
function redirected(request: HttpRequest, url: URL, status: number): HttpRequest {
  const headers: Record<string, string> = {};
  for (const [name, value] of Object.entries(request.headers)) {
    const sensitive = /^(authorization|cookie|prefect-csrf-.*)$/i.test(name);
    if (url.origin === request.url.origin || !sensitive) headers[name] = value;
  }
  if (status <= 303 && request.method !== "GET") {
    return { ...request, url, method: "GET", headers, body: undefined };
  }
  return { ...request, url, headers };
}

/** A kept-alive connection may have been closed by the server just as it was taken: then a fresh one is tried. */
async function sendOnce(request: HttpRequest): Promise<HttpResponse> {
  for (;;) {
    const outcome = await attempt(request);
    if (outcome.kind === "response") return outcome.response;
    if (request.signal?.aborted) throw request.signal.reason;
    if (!outcome.stale || request.isOnce) throw new UnreachableError(request.url.origin, outcome.code, outcome.error);
  }
}

type Outcome =
  | { kind: "response"; response: HttpResponse }
  | { kind: "failed"; error: Error; code: string; stale: boolean };

async function attempt(request: HttpRequest): Promise<Outcome> {
  const { url, method, body, signal } = request;
  const { agent, proxy } = await request.agents.route(url, "request");
  signal?.throwIfAborted();
  const headers: Record<string, string> = { ...request.headers };
  if (body !== undefined) headers["Content-Length"] = String(Buffer.byteLength(body));
  return await new Promise<Outcome>((resolve) => {
    let sent: http.ClientRequest;
    const fail = (error: NodeJS.ErrnoException, answered: boolean): void => {
      const code = error.code ?? error.name;
      const stale = !answered && sent.reusedSocket && (code === "ECONNRESET" || code === "EPIPE");
      resolve({ kind: "failed", error, code, stale });
    };
    const onAnswer = (response: http.IncomingMessage): void => {
      if (proxy && response.statusCode === 407) fail(proxyRefusal(proxy, 407), true);
      collect(response).then(
        (text) => {
          resolve({
            kind: "response",
            response: { status: response.statusCode ?? 0, headers: response.headers, body: text, url },
          });
        },
        (error: Error) => fail(error, true),
      );
    };
    try {
      const { request: send } = url.protocol === "https:" ? https : http;
      // Given here, it counts from before the connection is there.
      sent = send(url, { method, headers, agent, timeout: request.timeoutMs, ...(signal ? { signal } : {}) });
    } catch (error) {
      resolve({ kind: "failed", error: error as Error, code: "ERR_INVALID_REQUEST", stale: false });
      return;
    }
    sent.on("timeout", () => {
      const error: NodeJS.ErrnoException = new Error(`no answer within ${request.timeoutMs / 1000} s`);
      error.code = "ETIMEDOUT";
      sent.destroy(error);
    });
    sent.on("response", onAnswer);
    sent.on("error", (error) => fail(error, false));
    sent.end(body);
  });
}

async function collect(response: http.IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > maxBodyBytes) throw new Error(`the answer is larger than ${maxBodyBytes} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}
