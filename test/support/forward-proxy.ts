// A proxy as companies have one: CONNECT for tunnels, whole URLs for plain requests, with or without credentials.
import { createServer, type IncomingMessage, request as sendRequest } from "node:http";
import { createServer as createTlsServer } from "node:https";
import { connect } from "node:net";
import { pipeline } from "node:stream";
import type { ServerCertificate } from "./certificates.ts";
import { listenOnLoopback } from "./listen-on-loopback.ts";

/** `credentials` is `user:password`; `certificate` makes it an https: proxy. */
export interface ForwardProxyOptions {
  credentials?: string;
  certificate?: ServerCertificate;
}

/** A listening proxy that counts. */
export interface ForwardProxy extends AsyncDisposable {
  /** What CONNECT is answered with: 200 opens a tunnel, "silence" is no answer. */
  onConnect: number | "silence";
  /** `http://127.0.0.1:<port>` */
  url: string;
  /** The URL with `user:password`. */
  urlWith(credentials: string): string;
  /** Where tunnels were opened to, `host:port` each. */
  tunnels: readonly string[];
  /** The URLs of plain requests that were passed on. */
  forwarded: readonly string[];
  /** How many requests came with wrong credentials or none. */
  readonly refused: number;
  /** The headers of every request to the proxy itself. */
  headers: readonly IncomingMessage["headers"][];
  /** Destroys all live connections. */
  dropAll(): void;
}

/** Starts a proxy on a free loopback port. */
export async function startForwardProxy(options: ForwardProxyOptions = {}): Promise<ForwardProxy> {
  const { credentials, certificate } = options;
  const tunnels: string[] = [];
  const forwarded: string[] = [];
  const headers: IncomingMessage["headers"][] = [];
  let refused = 0;
  const expected = credentials && `Basic ${Buffer.from(credentials).toString("base64")}`;
  const isRefused = (request: IncomingMessage): boolean => {
    headers.push(request.headers);
    if (expected === undefined || request.headers["proxy-authorization"] === expected) return false;
    refused++;
    return true;
  };
  const server = certificate ? createTlsServer(certificate) : createServer();
  server.on("request", (request, response) => {
    if (isRefused(request)) {
      response.writeHead(407, { "proxy-authenticate": "Basic" }).end("who are you?");
      return;
    }
    forwarded.push(request.url ?? "");
    const { "proxy-authorization": _, "proxy-connection": __, ...kept } = request.headers;
    const passedOn = sendRequest(request.url ?? "", { method: request.method, headers: kept }, (answer) => {
      response.writeHead(answer.statusCode ?? 502, answer.headers);
      pipeline(answer, response, () => undefined);
    });
    pipeline(request, passedOn, () => undefined);
    passedOn.on("error", () => response.destroy());
  });
  server.on("connect", (request, socket) => {
    const status = isRefused(request) ? 407 : proxy.onConnect;
    if (status === "silence") return;
    if (status !== 200) {
      socket.end(`HTTP/1.1 ${status} No\r\nContent-Length: 0\r\n\r\n`);
      return;
    }
    tunnels.push(request.url ?? "");
    const [host = "", port] = (request.url ?? "").split(":");
    const upstream = connect(Number(port), host);
    upstream.once("connect", () => socket.write("HTTP/1.1 200 Connection established\r\n\r\n"));
    pipeline(socket, upstream, socket, () => undefined);
  });
  const { origin, dropAll, stop } = await listenOnLoopback(server);
  const url = certificate ? origin.replace("http:", "https:") : origin;
  const proxy: ForwardProxy = {
    onConnect: 200,
    url,
    urlWith: (given) => url.replace("://", `://${given}@`),
    tunnels,
    forwarded,
    headers,
    get refused() {
      return refused;
    },
    dropAll,
    [Symbol.asyncDispose]: stop,
  };
  return proxy;
}
