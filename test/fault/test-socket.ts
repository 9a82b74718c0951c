// What the tests of sockets need beside a scripted server.
import { createServer, type IncomingMessage, type RequestListener } from "node:http";
import pino from "pino";
import { type WebSocket, WebSocketServer } from "ws";
import type { PrefectEvent } from "../../src/api/wire.ts";
import type { Logger } from "../../src/logger.ts";
import type { SocketAddress } from "../../src/sockets/connect.ts";
import { KeepAlive } from "../../src/sockets/keep-alive.ts";
import { listenOnLoopback } from "../support/listen-on-loopback.ts";
import { fixedCredentials, testAgents } from "./test-client.ts";

/** The address of `<origin>/api`, without credentials unless `changes` has some. */
export function socketAddress(origin: string, changes: Partial<SocketAddress> = {}): SocketAddress {
  return {
    apiUrl: `${origin}/api`,
    credentials: fixedCredentials(),
    customHeaders: {},
    agents: testAgents(),
    keepAlive: new KeepAlive(),
    ...changes,
  };
}

/** A listening server of WebSockets. */
export interface RawSocketServer extends AsyncDisposable {
  url: string;
}

/**
 * A WebSocket server below the level of frames: `onConnection` has the socket itself and the whole request, and a ping is
 * answered only by `onConnection`. Requests that are no upgrades are answered by `onRequest`, else with 404.
 */
export async function startRawSocketServer(
  onConnection: (socket: WebSocket, request: IncomingMessage) => void,
  {
    takesSubprotocol = true,
    onRequest = (_request, response) => response.writeHead(404).end(),
  }: { takesSubprotocol?: boolean; onRequest?: RequestListener } = {},
): Promise<RawSocketServer> {
  const server = createServer(onRequest);
  const acceptor = new WebSocketServer({
    server,
    autoPong: false,
    handleProtocols: (offered) => takesSubprotocol && offered.has("prefect") && "prefect",
  });
  acceptor.on("connection", (socket, request) => {
    // A reset by the client comes as an error too.
    socket.on("error", () => undefined);
    onConnection(socket, request);
  });
  const { origin, stop } = await listenOnLoopback(server);
  return { url: origin, [Symbol.asyncDispose]: stop };
}

/** One log record. */
export interface Recorded {
  level: number;
  msg: string;
}

/** A logger that keeps its records, those of level debug included. */
export function recordingLogger(): { log: Logger; records: readonly Recorded[]; warnings(): string[] } {
  const records: Recorded[] = [];
  const log = pino({ level: "debug" }, { write: (line: string) => records.push(JSON.parse(line) as Recorded) });
  return { log, records, warnings: () => records.filter(({ level }) => level === 40).map(({ msg }) => msg) };
}

/** A signal that nobody aborts. */
export const untilTheEnd = new AbortController().signal;

/** An event of a worker. */
export function event(id: string): PrefectEvent {
  return {
    id,
    occurred: "2026-01-01T00:00:00Z",
    event: "prefect.worker.started",
    resource: { "prefect.resource.id": "prefect.worker.process.w" },
    related: [],
    payload: {},
    follows: null,
  };
}
