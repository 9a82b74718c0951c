// Serves GET /health for supervisors and the status page for people. Source: prefect workers/server.py.
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import http from "node:http";
import { isIP } from "node:net";
import { join } from "node:path";
import type { InfrastructureWatch } from "../infrastructure/pool-type.ts";
import type { Logger } from "../logger.ts";
import { listenHttp } from "./http-listener.ts";

const pageFile = "status-page.html";

/** The address of the server, and the sources of its responses. */
export interface HealthServerOptions {
  host: string;
  port: number;
  /** Returns the seconds since the last poll of a worker that is stuck. Returns undefined if none is stuck. */
  silentSeconds: () => number | undefined;
  /** Returns for how many seconds the API has been away. Returns undefined if there is no outage. */
  outageSeconds: () => number | undefined;
  /** Returns for how many seconds polls have failed. Returns undefined if they succeed. */
  pollsFailingSeconds: () => number | undefined;
  /** Returns why the journal cannot be written; null if it can. */
  journalProblem: () => string | null;
  /** Returns why flow runs cannot be started on this machine now; null if nothing is known to be wrong. */
  machineProblem: () => string | null;
  /** Returns the streams of changes of the infrastructure. */
  watches: () => readonly InfrastructureWatch[];
  /** Returns the body of /status.json. */
  status: () => object;
  /** Returns the latest log records of a flow run. Returns null if it is not one of this program. */
  logTail: (flowRunId: string) => Promise<object | null>;
  /** Returns the text without secrets. */
  redact: (text: string) => string;
  log: Logger;
}

interface RouteResponse {
  status: number;
  headers?: http.OutgoingHttpHeaders;
  body: string;
}

/** A route gets the query of the request. */
type Routes = Readonly<Record<string, (query: URLSearchParams) => RouteResponse | Promise<RouteResponse>>>;

/** What a flow run logs may be confidential. Everything else on the page is about the worker. */
const logsPath = "/logs.json";

/**
 * Serves `/health`, the status page at `/`, and its data at `/status.json` and `/logs.json`. `/health` is 200 while all workers poll,
 * and 503 if one is stuck or the API is away. Returns the port. Disposing closes the server. Throws the system's error if it cannot
 * listen.
 */
export async function startHealthServer(options: HealthServerOptions): Promise<Disposable & { port: number }> {
  const routes: Routes = {
    "/health": () => healthResponse(options),
    "/status.json": () => statusResponse(options),
    [logsPath]: (query) => logsResponse(options, query.get("flow_run") ?? ""),
    "/": pageResponse,
  };
  const server = http.createServer(async (request, response) => {
    const { status, headers, body } = await respond(routes, request, options.host).catch((error: unknown) => {
      options.log.error({ err: error }, "The status page cannot be served");
      return json(500, { detail: "Internal Server Error" });
    });
    response.writeHead(status, headers).end(request.method === "HEAD" ? undefined : body);
  });
  return await listenHttp(server, options);
}

async function respond(
  routes: Routes,
  { url, method, headers, socket }: http.IncomingMessage,
  configuredHost: string,
): Promise<RouteResponse> {
  const [path = "", query] = (url ?? "").split("?");
  const route = Object.hasOwn(routes, path) ? routes[path] : undefined;
  if (!route) return json(404, { detail: "Not Found" });
  if (path !== "/health" && !isTrustedHost(socket.remoteAddress, headers.host, configuredHost)) {
    return json(403, { detail: "This name is not one of the status page. Use an address or localhost." });
  }
  if (method !== "GET" && method !== "HEAD") return json(405, { detail: "Method Not Allowed" });
  if (path === logsPath && !isLocal(socket.remoteAddress)) {
    const detail =
      "Log records are shown to this machine only. Use an SSH tunnel, kubectl port-forward or the Prefect UI.";
    return json(403, { detail });
  }
  return await route(new URLSearchParams(query));
}

function isLocal(peer: string | undefined): boolean {
  return peer === undefined || /^(::1|(::ffff:)?127\.)/.test(peer);
}

/**
 * Returns true if a request may read the status. The reason is DNS rebinding: a foreign web page can let its own host
 * name point at this machine. A browser on this machine would then read the status for that page. Its header `Host`
 * holds that name. `peer` is the client's address, and `host` is the header.
 */
export function isTrustedHost(peer: string | undefined, host: string | undefined, configuredHost: string): boolean {
  if (!isLocal(peer) || host === undefined) return true;
  if (!URL.canParse(`http://${host}`)) return false;
  const { hostname } = new URL(`http://${host}`);
  const name = hostname.replace(/^\[|\]$/g, "");
  return isIP(name) !== 0 || /(^|\.)localhost$/.test(name) || name === configuredHost.toLowerCase();
}

function json(status: number, body: object, headers: http.OutgoingHttpHeaders = {}): RouteResponse {
  return { status, headers: { "Content-Type": "application/json", ...headers }, body: JSON.stringify(body) };
}

/**
 * The messages are those of the reference, except for an outage. `polls_failing_seconds` exists only while polls fail,
 * `journal_problem` only while the journal cannot be written, and `machine_problem` only while flow runs cannot be started.
 * `oldest_watch_seconds` exists if infrastructure is watched: the longest silence of a watch. `watch_problem` says why changes
 * are not seen now. The last four do not cause 503, because a restart mends none. An outage logs nothing here, because a
 * restart would not end it.
 */
function healthResponse(options: HealthServerOptions): RouteResponse {
  const { silentSeconds, outageSeconds, pollsFailingSeconds, journalProblem, machineProblem, redact, log } = options;
  const ofJournal = journalProblem();
  const ofMachine = machineProblem();
  const seconds = silentSeconds();
  const awaySeconds = outageSeconds();
  const failingSeconds = pollsFailingSeconds();
  const failing = {
    ...(failingSeconds !== undefined && { polls_failing_seconds: Math.round(failingSeconds) }),
    ...(ofJournal !== null && { journal_problem: ofJournal }),
    ...(ofMachine !== null && { machine_problem: redact(ofMachine) }),
    ...describeWatches(options),
  };
  if (awaySeconds !== undefined) {
    const message = "The API is away. The worker keeps trying.";
    return json(503, { message, outage_seconds: Math.round(awaySeconds), ...failing });
  }
  if (seconds === undefined) return json(200, { message: "OK", ...failing });
  log.error(`Worker has not polled in the last ${Math.round(seconds)} seconds and should be restarted`);
  return json(503, { message: "Worker may be unresponsive at this time", ...failing });
}

function describeWatches({ watches, redact }: HealthServerOptions): object {
  const all = watches();
  const ages = all.flatMap(({ ageMs }) => ageMs ?? []);
  const problem = all.find((watch) => watch.problem !== null)?.problem ?? null;
  return {
    ...(ages.length > 0 && { oldest_watch_seconds: Math.round(Math.max(...ages) / 1000) }),
    ...(problem !== null && { watch_problem: redact(problem) }),
  };
}

/** Browsers must not store these responses or show them to other sites. */
const privateHeaders = {
  "Cache-Control": "no-store",
  "Cross-Origin-Resource-Policy": "same-origin",
  "X-Content-Type-Options": "nosniff",
  "Referrer-Policy": "no-referrer",
};

/** Hides secrets in each text and not in the JSON, because a secret like `true` would break the JSON. */
function statusResponse({ status, redact }: HealthServerOptions): RouteResponse {
  return withoutSecrets(status(), redact);
}

async function logsResponse({ logTail, redact, log }: HealthServerOptions, flowRunId: string): Promise<RouteResponse> {
  try {
    const tail = await logTail(flowRunId);
    return tail
      ? withoutSecrets(tail, redact)
      : json(404, { detail: "This worker does not have the flow run any more." });
  } catch (error) {
    log.debug({ err: error, flow_run_id: flowRunId }, "The log records for the status page cannot be read");
    return json(502, { detail: "The API has not returned the log records." });
  }
}

function withoutSecrets(body: object, redact: (text: string) => string): RouteResponse {
  const hide = (_key: string, value: unknown): unknown => (typeof value === "string" ? redact(value) : value);
  const headers = { "Content-Type": "application/json", ...privateHeaders };
  return { status: 200, headers, body: JSON.stringify(body, hide) };
}

/** Returns the page. It is read for each request, so that it takes no memory otherwise. A single executable has it inside. */
async function readPage(): Promise<string> {
  const { getAsset, isSea } = await import("node:sea");
  return isSea() ? getAsset(pageFile, "utf8") : await readFile(join(import.meta.dirname, pageFile), "utf8");
}

/** The policy allows only the page's own script and style, by their hashes, and requests to this server. */
async function pageResponse(): Promise<RouteResponse> {
  const body = await readPage();
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
    ...privateHeaders,
  };
  return { status: 200, headers, body };
}

/** Returns the hash of the page's script or style for the policy. Source: CSP level 3, hash-source. */
function hashOf(page: string, element: "script" | "style"): string {
  const [, text = ""] = new RegExp(`<${element}[^>]*>(.*?)</${element}>`, "s").exec(page) ?? [];
  return `'sha256-${createHash("sha256").update(text).digest("base64")}'`;
}
