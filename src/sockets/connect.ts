// Opens one authenticated WebSocket: the upgrade and the in-band authentication.
// Source: prefect _internal/websockets.py, server/utilities/subscriptions.py.
import type { Agent } from "node:http";
import type WebSocket from "ws";
import type { Agents } from "../api/agents.ts";
import { causeOfRefusedUpgrade } from "../api/causes.ts";
import type { Credentials } from "../api/credentials.ts";
import { utf8Header } from "../api/header-text.ts";
import { maxHeaderBytes } from "../api/http-message.ts";
import { explainFailure } from "../api/tls-causes.ts";
import type { JsonObject } from "../api/wire.ts";
import { timeoutSignal } from "../async/clock.ts";
import { LinkedController } from "../async/linked-controller.ts";
import type { Authorization } from "../settings/connection.ts";
import { userAgent } from "../version.ts";
import type { KeepAlive } from "./keep-alive.ts";
import { closeCode, type Socket, wrapWebSocket } from "./socket.ts";
import { SocketError } from "./socket-error.ts";

/** How to reach one API by WebSocket. All its sockets share this. */
export interface SocketAddress {
  /** The API URL. Its scheme becomes ws or wss. Its path is kept, because it may contain the workspace. */
  apiUrl: string;
  /** The upgrade carries their header, as over HTTP. The in-band message carries their token. */
  credentials: Credentials;
  customHeaders: Readonly<Record<string, string>>;
  agents: Agents;
  /** How often the sockets ping. */
  keepAlive: KeepAlive;
  /** Opens a route, instead of `connectSocket`. For a simulated network. */
  open?: (route: string, signal: AbortSignal) => Promise<Socket>;
}

/**
 * The time limit for connecting, authenticating and the server's first frame together. Source: prefect
 * workers/_worker_channel, 10 s.
 */
const openTimeoutMs = 10_000;
/** Servers refuse events over 1.5 MB, so no frame is nearly as large. */
const maxFrameBytes = 8 * 1024 * 1024;
/** Custom headers of these names are ignored, because the upgrade or lictor sets them. */
const protectedHeader = /^(user-agent|host|connection|upgrade|sec-websocket-.*)$/i;

/**
 * Opens `route` and returns the socket. Authenticates with the Authorization header. With `inBand`, also uses the
 * subprotocol `prefect` and an auth message, because self-hosted servers check only those. Throws SocketError or the
 * abort reason.
 */
export async function connectSocket(
  address: SocketAddress,
  route: string,
  options: { inBand: boolean; signal: AbortSignal; timeoutMs?: number },
): Promise<Socket> {
  if (address.open) return await address.open(route, options.signal);
  const { timeoutMs = openTimeoutMs } = options;
  const used = address.credentials.current;
  const { agent } = await address.agents.route(new URL(address.apiUrl), "socket");
  // Loaded only now, because a worker polls before it opens its sockets.
  const { WebSocket } = await import("./web-socket.ts");
  options.signal.throwIfAborted();
  const socket = openSocket(WebSocket, address, used, agent, { route, inBand: options.inBand });
  const deadline = timeoutSignal(timeoutMs);
  using end = new LinkedController(options.signal, deadline);
  const giveUp = (): void => socket.terminate();
  end.signal.addEventListener("abort", giveUp);
  try {
    // Wrapped before it is open, because a frame or a close may arrive together with the response to the upgrade.
    const connected = wrapWebSocket(socket, address.keepAlive);
    await waitUntilOpen(socket, options.inBand);
    if (options.inBand) await authenticate(connected, used.token, end.signal);
    return connected;
  } catch (error) {
    socket.terminate();
    options.signal.throwIfAborted();
    if (error instanceof NoSubprotocolError) return await connectSocket(address, route, { ...options, inBand: false });
    // The next attempt to open the socket uses the replaced credentials.
    if (isRefusal(error)) address.credentials.tryReplace(used);
    if (deadline.aborted) throw new SocketError(`${socket.url}: no answer within ${timeoutMs / 1000} s`);
    throw error;
  }
}

/** The server upgraded without the subprotocol. Servers before 3.6.14 have no authentication on `/events/in`. */
class NoSubprotocolError extends Error {}

/** Returns true for a 401 to the upgrade, and for the close code of self-hosted servers for a wrong token. */
function isRefusal(error: unknown): boolean {
  return (
    error instanceof SocketError && (error.details.status === 401 || error.details.code === closeCode.policyViolation)
  );
}

function openSocket(
  Implementation: typeof WebSocket,
  address: SocketAddress,
  authorization: Authorization,
  agent: Agent,
  { route, inBand }: { route: string; inBand: boolean },
): WebSocket {
  const headers: Record<string, string> = { "User-Agent": userAgent };
  if (authorization.header) headers.Authorization = authorization.header;
  for (const [name, value] of Object.entries(address.customHeaders)) {
    if (!protectedHeader.test(name)) headers[name] = utf8Header(value);
  }
  return new Implementation(`${address.apiUrl.replace(/^http/, "ws")}${route}`, inBand ? ["prefect"] : [], {
    headers,
    agent,
    maxPayload: maxFrameBytes,
    // ws passes this option to node:http, but its types lack it.
    ...{ maxHeaderSize: maxHeaderBytes },
    perMessageDeflate: false,
  });
}

/** Resolves when the socket is open. Rejects with SocketError or NoSubprotocolError. */
async function waitUntilOpen(socket: WebSocket, inBand: boolean): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    socket.once("open", resolve);
    socket.once("upgrade", (response) => {
      if (inBand && response.headers["sec-websocket-protocol"] === undefined) reject(new NoSubprotocolError());
    });
    socket.once("unexpected-response", (_request, response) => {
      const status = response.statusCode ?? 0;
      const contentType = response.headers["content-type"] ?? "";
      const cause = causeOfRefusedUpgrade(status, contentType);
      const what = `the upgrade to a WebSocket was answered with ${status}`;
      reject(
        new SocketError(`${socket.url}: ${what}. ${cause}`, { status, cause, isJson: contentType.includes("json") }),
      );
    });
    // This listener stays, because ws also emits "error" when a socket is closed that never opened.
    socket.on("error", (error) => reject(new SocketError(`${socket.url}: ${explainFailure(error)}`)));
    socket.once("close", () => reject(new SocketError(`${socket.url}: closed while it was opened`)));
  });
}

async function authenticate(socket: Socket, token: string | null, signal: AbortSignal): Promise<void> {
  socket.send({ type: "auth", token });
  const { value: response, done } = await socket.frames(signal).next();
  if (done) throw new SocketError("closed instead of an answer to the authentication");
  const type = (response as JsonObject | null)?.type;
  if (type !== "auth_success")
    throw new SocketError(`expected auth_success, got ${JSON.stringify(response).slice(0, 80)}`);
}
