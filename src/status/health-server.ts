// GET /health for supervisors of the program, and a page about it for people. Source: prefect workers/server.py.
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import http from "node:http";
import { isIP } from "node:net";
import type { Logger } from "../logger.ts";
import { listenHttp } from "./http-listener.ts";

/** Lies beside the program; read for each request, so that it takes no memory when nobody looks. */
const pageFile = new URL("./status-page.html", import.meta.url);

/** What is served, and where. */
export interface HealthServerOptions {
  host: string;
  port: number;
  /** Seconds since the last poll of a worker that is stuck; undefined while none is. */
  silentSeconds: () => number | undefined;
  /** For how many seconds polls have failed; undefined while they are answered. */
  pollsFailingSeconds: () => number | undefined;
  /** What /status.json answers. */
  status: () => object;
  /** Hides secrets in a text. */
  redact: (text: string) => string;
  log: Logger;
}

interface Answer {
  status: number;
  headers?: http.OutgoingHttpHeaders;
  body: string;
}

/**
 * Serves `/health`: 200 while all workers poll, 503 when one is stuck; the status page at `/` and what it shows at
 * `/status.json`. Disposing closes it. Throws when the address cannot be listened on.
 */
export async function startHealthServer(options: HealthServerOptions): Promise<Disposable & { port: number }> {
  const routes: Readonly<Record<string, () => Answer | Promise<Answer>>> = {
    "/health": () => answerHealth(options),
    "/status.json": () => answerStatus(options),
    "/": answerPage,
  };
  const server = http.createServer(async (request, response) => {
    const { status, headers, body } = await answer(routes, request, options.host).catch((error: unknown) => {
      options.log.error({ err: error }, "The status page cannot be served");
      return json(500, { detail: "Internal Server Error" });
    });
    response.writeHead(status, headers).end(request.method === "HEAD" ? undefined : body);
  });
  return await listenHttp(server, options);
}

async function answer(
  routes: Readonly<Record<string, () => Answer | Promise<Answer>>>,
  { url, method, headers, socket }: http.IncomingMessage,
  configuredHost: string,
): Promise<Answer> {
  const path = url?.split("?")[0] ?? "";
  const route = Object.hasOwn(routes, path) ? routes[path] : undefined;
  if (!route) return json(404, { detail: "Not Found" });
  if (path !== "/health" && !isTrustedHost(socket.remoteAddress, headers.host, configuredHost)) {
    return json(403, { detail: "This name is not one of the status page. Use an address or localhost." });
  }
  if (method !== "GET" && method !== "HEAD") return json(405, { detail: "Method Not Allowed" });
  return await route();
}

/**
 * Whether a request may read the status. A web page from elsewhere can point a name of its own at this machine (DNS
 * rebinding). A browser on this machine would then read the status for that page, but it would send that name.
 */
export function isTrustedHost(peer: string | undefined, host: string | undefined, configuredHost: string): boolean {
  const isLocalPeer = peer === undefined || /^(::1|(::ffff:)?127\.)/.test(peer);
  if (!isLocalPeer || host === undefined) return true;
  if (!URL.canParse(`http://${host}`)) return false;
  const { hostname } = new URL(`http://${host}`);
  const name = hostname.replace(/^\[|\]$/g, "");
  return isIP(name) !== 0 || /(^|\.)localhost$/.test(name) || name === configuredHost.toLowerCase();
}

function json(status: number, body: object, headers: http.OutgoingHttpHeaders = {}): Answer {
  return { status, headers: { "Content-Type": "application/json", ...headers }, body: JSON.stringify(body) };
}

/** The message is the reference's. The field beside it is there only while polls fail. */
function answerHealth({ silentSeconds, pollsFailingSeconds, log }: HealthServerOptions): Answer {
  const seconds = silentSeconds();
  const failingSeconds = pollsFailingSeconds();
  const failing = failingSeconds === undefined ? {} : { polls_failing_seconds: Math.round(failingSeconds) };
  if (seconds === undefined) return json(200, { message: "OK", ...failing });
  log.error(`Worker has not polled in the last ${Math.round(seconds)} seconds and should be restarted`);
  return json(503, { message: "Worker may be unresponsive at this time", ...failing });
}

/** For the eyes of this page only: nothing is kept, and no other site may have it. */
const privately = {
  "Cache-Control": "no-store",
  "Cross-Origin-Resource-Policy": "same-origin",
  "X-Content-Type-Options": "nosniff",
  "Referrer-Policy": "no-referrer",
};

/** In its texts, not in its JSON: a secret like `true` must not break it. */
function answerStatus({ status, redact }: HealthServerOptions): Answer {
  const hide = (_key: string, value: unknown): unknown => (typeof value === "string" ? redact(value) : value);
  const headers = { "Content-Type": "application/json", ...privately };
  return { status: 200, headers, body: JSON.stringify(status(), hide) };
}

/** The page may run its own script and style, known by their hashes, and talk to this server; nothing else. */
async function answerPage(): Promise<Answer> {
  const body = await readFile(pageFile, "utf8");
  const policy = [
    "default-src 'none'",
    `script-src ${hashOf(body, "script")}`,
    `style-src ${hashOf(body, "style")}`,
    "img-src data:",
    "connect-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ];
  const headers = {
    "Content-Type": "text/html; charset=utf-8",
    "Content-Security-Policy": policy.join("; "),
    ...privately,
  };
  return { status: 200, headers, body };
}

/** Source: CSP level 3, hash-source. */
function hashOf(page: string, element: "script" | "style"): string {
  const [, text = ""] = new RegExp(`<${element}[^>]*>(.*?)</${element}>`, "s").exec(page) ?? [];
  return `'sha256-${createHash("sha256").update(text).digest("base64")}'`;
}
