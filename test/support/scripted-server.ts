// An HTTP and WebSocket server that answers what a test tells it to: for what a healthy server will not do.
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { Duplex } from "node:stream";
import { text } from "node:stream/consumers";
import { setTimeout as sleep } from "node:timers/promises";
import { WebSocketServer } from "ws";
import { listenOnLoopback } from "./listen-on-loopback.ts";
import { ScriptedSocket } from "./scripted-socket.ts";
import { refuseUpgrade } from "./websocket-relay.ts";

/** One HTTP answer, used once unless `always`. A body that is no string is sent as JSON. */
export interface AnswerStep {
  status?: number;
  headers?: Record<string, string>;
  body?: unknown;
  /** Sends half of the body, then destroys the connection. */
  cut?: true;
  /** Never answers. */
  hang?: true;
  /** Answers this much later. */
  delayMs?: number;
  always?: true;
}

/** One WebSocket connection, used once unless `always`: refused, left without an answer, or accepted and played. */
export type SocketStep = { always?: true } & (
  | { refuse: number }
  | { hang: true }
  | { play: (socket: ScriptedSocket) => Promise<void> | void }
);

/** Steps by `METHOD /path` (without query) and, for upgrades, by path. */
export interface Script {
  http?: Record<string, AnswerStep[]>;
  sockets?: Record<string, SocketStep[]>;
}

/** A request that the server has received. */
export interface ReceivedRequest {
  method: string;
  path: string;
  headers: IncomingMessage["headers"];
  body: string;
  atMs: number;
}

/** A listening server. */
export interface ScriptedServer extends AsyncDisposable {
  /** `http://127.0.0.1:<port>`; a script with `/api` in its paths is reached by adding it. */
  url: string;
  requests: readonly ReceivedRequest[];
  /** What the script did not provide for, and what went wrong while a socket was played. */
  errors: readonly string[];
  stop(): Promise<void>;
}

/** Starts the server on a free loopback port. It takes the steps out of a copy of the script. */
export async function startScriptedServer(script: Script): Promise<ScriptedServer> {
  const { http, sockets } = { http: {}, sockets: {}, ...script };
  const steps = { http: copySteps(http), sockets: copySteps(sockets) };
  const requests: ReceivedRequest[] = [];
  const errors: string[] = [];
  const receive = async (request: IncomingMessage, method: string): Promise<ReceivedRequest> => {
    const { pathname: path } = new URL(request.url ?? "/", "http://script");
    const received = { method, path, headers: request.headers, body: "", atMs: performance.now() };
    requests.push(received);
    if (method !== "UPGRADE") received.body = await text(request);
    return received;
  };

  const server = createServer(async (request, response) => {
    const { method, path } = await receive(request, request.method ?? "");
    const step = takeStep(steps.http[`${method} ${path}`]);
    if (step === undefined) errors.push(`unexpected ${method} ${path}`);
    if (step?.delayMs) await sleep(step.delayMs);
    answer(response, step ?? { status: 501, body: "not in the script" });
  });
  server.on("upgrade", async (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    const { path } = await receive(request, "UPGRADE");
    const step = takeStep(steps.sockets[path]);
    if (step === undefined) errors.push(`unexpected WebSocket ${path}`);
    await playSocket(step ?? { refuse: 501 }, request, socket, head).catch((error: unknown) => {
      errors.push(`WebSocket ${path}: ${String(error)}`);
      socket.destroy();
    });
  });
  const { origin, stop } = await listenOnLoopback(server);
  return { url: origin, requests, errors, stop, [Symbol.asyncDispose]: stop };
}

function copySteps<Step>(script: Record<string, Step[]>): Record<string, Step[]> {
  return Object.fromEntries(Object.entries(script).map(([key, steps]) => [key, [...steps]]));
}

function takeStep<Step extends { always?: true }>(steps: Step[] | undefined): Step | undefined {
  return steps?.[0]?.always ? steps[0] : steps?.shift();
}

function answer(response: ServerResponse, step: AnswerStep): void {
  if (step.hang) return;
  const isText = typeof step.body === "string";
  const body = Buffer.from(isText ? (step.body as string) : step.body === undefined ? "" : JSON.stringify(step.body));
  response.writeHead(step.status ?? 200, {
    "content-type": isText ? "text/plain" : "application/json",
    "content-length": body.length,
    ...step.headers,
  });
  if (step.cut) response.write(body.subarray(0, body.length / 2), () => response.destroy());
  else response.end(body);
}

async function playSocket(step: SocketStep, request: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> {
  if ("hang" in step) return;
  if ("refuse" in step) {
    refuseUpgrade(socket, step.refuse);
    return;
  }
  // As a Prefect server does: it takes the one subprotocol it knows, if it is offered.
  const acceptor = new WebSocketServer({
    noServer: true,
    handleProtocols: (offered) => offered.has("prefect") && "prefect",
  });
  const scripted = await new Promise<ScriptedSocket>((resolve) => {
    acceptor.handleUpgrade(request, socket, head, (webSocket) => resolve(new ScriptedSocket(webSocket)));
  });
  await step.play(scripted);
}
