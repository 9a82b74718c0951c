// GET /health for supervisors of the worker, and a page about it for people. Source: prefect workers/server.py.
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import http from "node:http";
import { monotonicMs } from "../async/clock.ts";
import type { Logger } from "../logger.ts";
import { listenHttp } from "./listen-http.ts";

/** So many poll intervals without a poll, and the worker counts as stuck. */
const missedPolls = 30;

/** Lies beside the program; read for each request, so that it takes no memory when nobody looks. */
const pageFile = new URL("./status-page.html", import.meta.url);

/** What is served, and where. */
export interface HealthServerOptions {
  host: string;
  port: number;
  querySeconds: number;
  lastPollAt: () => number;
  /** Since when polls fail, on the monotonic clock; undefined while they are answered. */
  pollsFailingSince: () => number | undefined;
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
 * Serves `/health`: 200 while the last poll is recent enough, 503 after; the status page at `/` and what it shows at
 * `/status.json`. Disposing closes it. Throws when the address cannot be listened on.
 */
export async function startHealthServer(options: HealthServerOptions): Promise<Disposable & { port: number }> {
  const routes: Readonly<Record<string, () => Answer | Promise<Answer>>> = {
    "/health": () => answerHealth(options),
    "/status.json": () => answerStatus(options),
    "/": answerPage,
  };
  const server = http.createServer(async (request, response) => {
    const { status, headers, body } = await answer(routes, request).catch((error: unknown) => {
      options.log.error({ err: error }, "The status page cannot be served");
      return json(500, { detail: "Internal Server Error" });
    });
    response.writeHead(status, headers).end(request.method === "HEAD" ? undefined : body);
  });
  return await listenHttp(server, options);
}

async function answer(
  routes: Readonly<Record<string, () => Answer | Promise<Answer>>>,
  { url, method }: http.IncomingMessage,
): Promise<Answer> {
  const path = url?.split("?")[0] ?? "";
  const route = Object.hasOwn(routes, path) ? routes[path] : undefined;
  if (!route) return json(404, { detail: "Not Found" });
  if (method !== "GET" && method !== "HEAD") return json(405, { detail: "Method Not Allowed" });
  return await route();
}

function json(status: number, body: object, headers: http.OutgoingHttpHeaders = {}): Answer {
  return { status, headers: { "Content-Type": "application/json", ...headers }, body: JSON.stringify(body) };
}

/** The message is the reference's; the field beside it is there only while polls fail. */
function answerHealth({ querySeconds, lastPollAt, pollsFailingSince, log }: HealthServerOptions): Answer {
  const secondsAgo = (monotonicMs() - lastPollAt()) / 1000;
  const failingSince = pollsFailingSince();
  const failing =
    failingSince === undefined ? {} : { polls_failing_seconds: Math.round((monotonicMs() - failingSince) / 1000) };
  if (secondsAgo <= missedPolls * querySeconds) return json(200, { message: "OK", ...failing });
  log.error(`Worker has not polled in the last ${Math.round(secondsAgo)} seconds and should be restarted`);
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
