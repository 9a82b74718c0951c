// A reverse proxy in front of a real server: records and counts requests, plays Cloud, breaks what a test wants broken.
import { randomUUID } from "node:crypto";
import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from "node:http";
import type { Duplex } from "node:stream";
import { text } from "node:stream/consumers";
import {
  type CloudAccount,
  cloudRelayRules,
  heartbeatAnswer,
  isAuthorized,
  selfHostedBody,
  upgradeProblem,
  workspaceBasePath,
  workspacesAnswer,
} from "./cloud-rules.ts";
import { listenOnLoopback } from "./listen-on-loopback.ts";
import { sendRequest } from "./send-request.ts";
import { type RelayRules, refuseUpgrade, relayWebSocket } from "./websocket-relay.ts";

/** A request as it came in; an upgrade has the method `UPGRADE` and no body. */
export interface SeenRequest {
  method: string;
  /** Without base path and query; as it came where `isBelowBase` is false. */
  path: string;
  isBelowBase: boolean;
  query: string;
  headers: IncomingHttpHeaders;
  body: string;
  /** `performance.now()` when the head had arrived. */
  atMs: number;
}

/** An HTTP answer. */
export interface Answer {
  status: number;
  headers?: IncomingHttpHeaders;
  body?: string | Buffer;
}

/** Each hook may wait before it returns; undefined forwards. */
export interface ProxyOptions {
  cloud?: CloudAccount;
  basePath?: string;
  /** Gives the answer itself, or has the request forwarded and its answer lost with the connection. */
  onRequest?: (
    request: SeenRequest,
  ) => Answer | "lose-answer" | undefined | Promise<Answer | "lose-answer" | undefined>;
  /** A status refuses the upgrade. */
  onUpgrade?: (request: SeenRequest) => number | undefined | Promise<number | undefined>;
  /** Stands around the forwarding of a request. A failure breaks the connection off. */
  aroundForward?: (request: SeenRequest, forward: () => Promise<Answer>) => Promise<Answer>;
  /** What happens to the frames of a WebSocket, unless `cloud` has rules of its own. */
  relayRules?: (request: SeenRequest) => RelayRules;
}

/** A listening proxy; `requests` grows. */
export interface ReverseProxy extends AsyncDisposable {
  apiUrl: string;
  /** In Cloud mode, what comes before `/accounts`: the value of PREFECT_CLOUD_API_URL. */
  cloudApiUrl: string;
  /** The id that every worker gets in Cloud mode. */
  workerId: string;
  requests: readonly SeenRequest[];
  /** How many requests of this method had exactly this path, or one that matches. */
  count(method: string, path: string | RegExp): number;
  /** Destroys all live connections; new ones are accepted. */
  dropAll(): void;
  stop(): Promise<void>;
}

interface Context {
  target: string;
  basePath: string;
  options: ProxyOptions;
  workerId: string;
  requests: SeenRequest[];
}

/** Starts a proxy to `target`, the API URL of a real server, on a free loopback port. */
export async function startReverseProxy(target: string, options: ProxyOptions = {}): Promise<ReverseProxy> {
  const basePath = options.basePath ?? (options.cloud ? workspaceBasePath(options.cloud) : new URL(target).pathname);
  const context: Context = { target, basePath, options, workerId: randomUUID(), requests: [] };
  // A connection that breaks on either side ends the other one, as a proxy between them would.
  const server = createServer((request, response) => {
    handle(context, request, response).catch(() => response.destroy());
  });
  server.on("upgrade", (request, socket, head) => {
    upgrade(context, request, socket, head).catch(() => socket.destroy());
  });
  const { origin, dropAll, stop } = await listenOnLoopback(server);
  const matches = (seen: SeenRequest, path: string | RegExp) =>
    typeof path === "string" ? path === seen.path : path.test(seen.path);
  return {
    apiUrl: `${origin}${basePath}`,
    cloudApiUrl: `${origin}/api`,
    workerId: context.workerId,
    requests: context.requests,
    count: (method, path) => context.requests.filter((seen) => seen.method === method && matches(seen, path)).length,
    dropAll,
    stop,
    [Symbol.asyncDispose]: stop,
  };
}

async function handle(context: Context, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const { options, requests, target, workerId } = context;
  const seen = await see(context, request, request.method ?? "");
  requests.push(seen);
  const interference = await options.onRequest?.(seen);
  if (typeof interference === "object") return send(response, interference);
  const ownAnswer = answerUnforwarded(options.cloud, seen);
  if (ownAnswer !== undefined) return send(response, ownAnswer);
  const forwardIt = async (): Promise<Answer> => await forward(target, seen, options.cloud !== undefined);
  const answer = await (options.aroundForward?.(seen, forwardIt) ?? forwardIt());
  if (interference === "lose-answer") {
    response.destroy();
    return;
  }
  const isHeartbeat = options.cloud !== undefined && seen.path.endsWith("/workers/heartbeat") && answer.status < 300;
  send(response, (isHeartbeat ? heartbeatAnswer(seen.body, workerId) : undefined) ?? answer);
}

/** What the server behind is not asked: Cloud refusing a key or listing workspaces, and all that is not below the base. */
function answerUnforwarded(cloud: CloudAccount | undefined, seen: SeenRequest): Answer | undefined {
  if (cloud && !isAuthorized(cloud, seen.headers.authorization)) return { status: 401 };
  if (seen.isBelowBase) return undefined;
  return cloud && seen.path === "/api/me/workspaces" ? workspacesAnswer(cloud) : { status: 404 };
}

async function upgrade(context: Context, request: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> {
  const { options, requests, target, workerId } = context;
  const seen = await see(context, request, "UPGRADE");
  requests.push(seen);
  const hookStatus = await options.onUpgrade?.(seen);
  const cloudStatus = options.cloud && upgradeProblem(options.cloud, seen.path, seen.headers);
  const status = hookStatus ?? (seen.isBelowBase ? cloudStatus : 404);
  if (status !== undefined) {
    refuseUpgrade(socket, status);
    return;
  }
  const rules = options.cloud
    ? cloudRelayRules(options.cloud, seen.path, workerId)
    : (options.relayRules?.(seen) ?? {});
  const headers = forwardedHeaders(seen, options.cloud !== undefined);
  relayWebSocket(request, socket, head, { url: `${target.replace(/^http/, "ws")}${seen.path}`, headers, rules });
}

async function see({ basePath }: Context, request: IncomingMessage, method: string): Promise<SeenRequest> {
  const atMs = performance.now();
  const { pathname, search: query } = new URL(request.url ?? "/", "http://proxy");
  const isBelowBase = pathname.startsWith(`${basePath}/`);
  const path = isBelowBase ? pathname.slice(basePath.length) : pathname;
  const body = method === "UPGRADE" ? "" : await text(request);
  return { method, path, isBelowBase, query, headers: request.headers, body, atMs };
}

/** The server behind a played Cloud knows no key; the rest is what each connection has to itself. */
function forwardedHeaders(seen: SeenRequest, isCloud: boolean): IncomingHttpHeaders {
  const own = /^(host|connection|upgrade|keep-alive|transfer-encoding|content-length|sec-websocket-.*)$/;
  const kept = Object.entries(seen.headers).filter(
    ([name]) => !own.test(name) && !(isCloud && name === "authorization"),
  );
  return Object.fromEntries(kept);
}

async function forward(target: string, seen: SeenRequest, isCloud: boolean): Promise<Answer> {
  // Cloud has the metadata of worker types under a name of its own.
  const isMetadata = isCloud && seen.path === "/collections/work_pool_types";
  const path = isMetadata ? "/collections/views/aggregate-worker-metadata" : seen.path;
  return await sendRequest(`${target}${path}${seen.query}`, {
    method: seen.method,
    headers: forwardedHeaders(seen, isCloud),
    body: isCloud ? selfHostedBody(seen.method, seen.path, seen.body) : seen.body,
  });
}

function send(response: ServerResponse, answer: Answer): void {
  const { "transfer-encoding": _, connection: __, ...headers } = answer.headers ?? {};
  response.writeHead(answer.status, headers).end(answer.body);
}
