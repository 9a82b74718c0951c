// Sends one HTTP request and reads its complete response, with node:http or node:https. Knows nothing about Prefect.
import { setMaxListeners } from "node:events";
import http from "node:http";
import https from "node:https";
import type { Socket } from "node:net";
import { monotonicMs } from "../async/clock.ts";
import type { ProxyAddress } from "./connection-options.ts";
import { decodeContent } from "./content-encoding.ts";
import { ResponseTooLargeError, UnreachableError } from "./errors.ts";
import { type HttpRequest, type HttpResponse, maxHeaderBytes } from "./http-message.ts";
import { proxyFailure, proxyRefusal } from "./proxy-failure.ts";
import { redirected } from "./redirect.ts";

/** No response of the API is nearly as large. */
const maxResponseBytes = 64 * 1024 * 1024;

/** A complete response may take this many times `timeoutMs`. With 60 s, 64 MiB need 220 kB/s. */
const wholeResponseFactor = 5;

/**
 * Sends one request, follows up to five redirects, and returns the complete response. Throws UnreachableError if there
 * is no complete response in time, ResponseTooLargeError, and the abort reason of `signal`.
 */
export async function sendHttpRequest(request: HttpRequest): Promise<HttpResponse> {
  let current = request;
  for (let hops = 0; ; hops++) {
    const response = await sendOnce(current);
    const next = hops === 5 ? undefined : redirected(current, response);
    if (next === undefined) return response;
    current = { ...current, ...next };
  }
}

/** Sends without redirects. Tries again if the server closed the kept-alive connection at the moment of the request. */
async function sendOnce(request: HttpRequest): Promise<HttpResponse> {
  for (;;) {
    const outcome = await attempt(request);
    if (outcome.kind === "response") return outcome.response;
    if (request.signal?.aborted) throw request.signal.reason;
    if (outcome.error instanceof ResponseTooLargeError) throw outcome.error;
    if (!outcome.isStale || request.isOnce) throw new UnreachableError(request.url.origin, outcome.code, outcome.error);
  }
}

type Outcome =
  | { kind: "response"; response: HttpResponse }
  | { kind: "failed"; error: Error; code: string; isStale: boolean };

async function attempt(request: HttpRequest): Promise<Outcome> {
  const { url, signal, timeoutMs, startedAt = monotonicMs() } = request;
  const { agent, proxy } = await request.agents.route(url, request.lane);
  signal?.throwIfAborted();
  return await new Promise<Outcome>((resolve) => {
    let sent: http.ClientRequest;
    let timer: NodeJS.Timeout | undefined;
    const finish = (outcome: Outcome): void => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", onAbort);
      resolve(outcome);
    };
    // A request that waits for a free connection emits no event when it is destroyed.
    const giveUp = (error: Error): void => {
      fail(error, true);
      sent.destroy(error);
    };
    const onAbort = (): void => giveUp(new Error("aborted"));
    const fail = (error: NodeJS.ErrnoException, hasResponse: boolean): void => {
      const code = error.code ?? error.name;
      const isStale = !hasResponse && sent.reusedSocket && (code === "ECONNRESET" || code === "EPIPE");
      finish({ kind: "failed", error, code, isStale });
    };
    const onResponse = (response: http.IncomingMessage): void => {
      if (proxy && response.statusCode === 407) fail(proxyRefusal(proxy, 407), true);
      const onData = (): void => {
        if (monotonicMs() - startedAt < timeoutMs * wholeResponseFactor) timer?.refresh();
      };
      onData();
      collect(response, request, onData).then(
        (text) => {
          const { statusCode: status = 0, headers: received } = response;
          const { headers: sent } = request;
          finish({ kind: "response", response: { status, headers: received, body: text, url, sent } });
        },
        (error: Error) => {
          fail(error, true);
          response.destroy();
        },
      );
    };
    try {
      sent = openRequest(request, agent);
    } catch (error) {
      finish({ kind: "failed", error: error as Error, code: "ERR_INVALID_REQUEST", isStale: false });
      return;
    }
    timer = startTimer(sent, { timeoutMs, startedAt }, proxy, giveUp);
    // Many requests share one signal, and Node.js warns of more than ten listeners.
    if (signal) setMaxListeners(0, signal);
    signal?.addEventListener("abort", onAbort);
    sent.on("response", onResponse);
    sent.on("error", (error) => fail(error, false));
    sent.end(request.body);
  });
}

/** Opens the request without sending it. Throws if a header is invalid. */
function openRequest({ url, method, headers, body }: HttpRequest, agent: http.Agent): http.ClientRequest {
  const length = body === undefined ? {} : { "Content-Length": String(Buffer.byteLength(body)) };
  const options = { method, headers: { ...headers, ...length }, agent, maxHeaderSize: maxHeaderBytes };
  return (url.protocol === "https:" ? https : http).request(url, options);
}

/** Gives up the request `timeoutMs` after `startedAt`, with an error that says what it waited for. */
function startTimer(
  sent: http.ClientRequest,
  { timeoutMs, startedAt }: { timeoutMs: number; startedAt: number },
  proxy: ProxyAddress | undefined,
  giveUp: (error: Error) => void,
): NodeJS.Timeout {
  const sentAt = monotonicMs();
  const leftMs = Math.max(startedAt + timeoutMs - sentAt, 0);
  // If the request had to wait for a free connection most of the time, the connection is not the reason.
  let isLate = false;
  sent.once("socket", () => {
    isLate = !proxy && monotonicMs() - sentAt > leftMs / 2;
  });
  return setTimeout(() => giveUp(timeoutError(isLate ? null : sent.socket, timeoutMs, proxy)), leftMs);
}

/**
 * The code is ETIMEDOUT, as in Node.js, only for a timeout while connecting. Any other timeout has a code of its own.
 */
function timeoutError(socket: Socket | null, timeoutMs: number, proxy: ProxyAddress | undefined): Error {
  const within = `within ${timeoutMs / 1000} s`;
  const coded = (message: string, code: string): Error => Object.assign(new Error(message), { code });
  if (socket === null && proxy) return proxyFailure(proxy, coded(`no answer ${within}`, "ETIMEDOUT"));
  if (socket === null)
    return coded(`no free connection ${within}, other requests wait for their answers`, "BUSY_TIMEOUT");
  if (socket.connecting || isHandshaking(socket)) return coded(`no connection ${within}`, "ETIMEDOUT");
  return coded(`no answer ${within}`, "RESPONSE_TIMEOUT");
}

/** Returns true during the TLS handshake. Node's types lack the field. */
function isHandshaking(socket: object): boolean {
  return "secureConnecting" in socket && socket.secureConnecting === true;
}

/** Returns the decoded body. Throws ResponseTooLargeError, and the error of a broken connection. */
async function collect(response: http.IncomingMessage, request: HttpRequest, onData: () => void): Promise<string> {
  const { maxBodyBytes = maxResponseBytes, method, url } = request;
  const tooLarge = (): Error => new ResponseTooLargeError(method, url.pathname, maxBodyBytes);
  if (Number(response.headers["content-length"]) > maxBodyBytes) throw tooLarge();
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    onData();
    bytes += chunk.length;
    if (bytes > maxBodyBytes) throw tooLarge();
    chunks.push(chunk);
  }
  const body = await decodeContent(Buffer.concat(chunks), response.headers["content-encoding"], maxBodyBytes).catch(
    (error: NodeJS.ErrnoException) => {
      throw error.code === "ERR_BUFFER_TOO_LARGE" ? tooLarge() : error;
    },
  );
  return body.toString("utf8");
}
