// Opening one authenticated WebSocket: handshake, in-band authentication, and frames as JSON.
// Source: prefect _internal/websockets.py, server/utilities/subscriptions.py.
import type { Agent } from "node:http";
import WebSocket from "ws";
import type { Agents } from "../api/agents.ts";
import { causeOfRefusedUpgrade } from "../api/causes.ts";
import type { Credentials } from "../api/credentials.ts";
import { templateOfFrame } from "../api/exact-places.ts";
import { utf8Header } from "../api/header-text.ts";
import { maxHeaderBytes } from "../api/http-message.ts";
import { explainFailure } from "../api/tls-causes.ts";
import type { Json, JsonObject } from "../api/wire.ts";
import { monotonicMs } from "../async/clock.ts";
import { keepNumberTexts, stringifyExactJson } from "../exact-json.ts";
import type { Authorization } from "../settings/connection.ts";
import { userAgent } from "../version.ts";
import { inSeconds, type KeepAlive } from "./keep-alive.ts";
import { Liveness } from "./liveness.ts";
import { SocketError } from "./socket-error.ts";

/** What every socket of one worker has in common. */
export interface SocketAddress {
  /** The API URL. The scheme becomes ws or wss, and the path is kept, with the workspace in it. */
  apiUrl: string;
  /** Their header goes into the handshake, as over HTTP, and their token into the in-band message. */
  credentials: Credentials;
  customHeaders: Readonly<Record<string, string>>;
  agents: Agents;
  /** How often its sockets ping. */
  keepAlive: KeepAlive;
}

/** Close codes of RFC 6455; `none` stands for a connection that broke off without one. */
export const closeCode = {
  normal: 1000,
  goingAway: 1001,
  protocolError: 1002,
  none: 1006,
  policyViolation: 1008,
} as const;

/** An open, authenticated socket. Disposing closes it. */
export interface Socket extends Disposable {
  /** Sends a frame. Does nothing when the socket has closed. */
  send(frame: Json): void;
  /** Closes with a code other than that of a normal end. */
  close(code: number, reason: string): void;
  /**
   * Yields the frames in order until `signal` aborts or the socket closes. Throws SocketError unless it closed cleanly.
   * One reader at a time.
   */
  frames(signal: AbortSignal): AsyncGenerator<Json>;
  /**
   * Resolves when the peer has answered a ping, so that everything sent before has arrived, or when `signal` aborts.
   * Throws SocketError when the socket closes instead.
   */
  confirmed(signal: AbortSignal): Promise<void>;
}

/** For connecting, authenticating and the first frame of the server together. Source: prefect workers/_worker_channel, 10 s. */
const openTimeoutMs = 10_000;
/** Servers refuse events over 1.5 MB, so no frame comes near this. */
const maxFrameBytes = 8 * 1024 * 1024;
/** These headers belong to the handshake or to lictor, so custom headers of these names are left out. */
const protectedHeader = /^(user-agent|host|connection|upgrade|sec-websocket-.*)$/i;

/**
 * Opens `route` and authenticates with the Authorization header. With `inBand`, also with the subprotocol `prefect` and
 * an auth message, because self-hosted servers check nothing else. Throws SocketError.
 */
export async function connectSocket(
  address: SocketAddress,
  route: string,
  options: { inBand: boolean; signal: AbortSignal; timeoutMs?: number },
): Promise<Socket> {
  const { timeoutMs = openTimeoutMs } = options;
  const used = address.credentials.current;
  const { agent } = await address.agents.route(new URL(address.apiUrl), "socket");
  options.signal.throwIfAborted();
  const socket = openSocket(address, used, agent, { route, inBand: options.inBand });
  const deadline = AbortSignal.timeout(timeoutMs);
  const ended = AbortSignal.any([options.signal, deadline]);
  const giveUp = (): void => socket.terminate();
  ended.addEventListener("abort", giveUp, { once: true });
  try {
    // Listens from now on, because a frame or a close may arrive together with the response to the upgrade.
    const connected = frameSocket(socket, address.keepAlive);
    await opened(socket, options.inBand);
    if (options.inBand) await authenticate(connected, used.token, ended);
    return connected;
  } catch (error) {
    socket.terminate();
    options.signal.throwIfAborted();
    if (error instanceof NoHandshakeError) return await connectSocket(address, route, { ...options, inBand: false });
    // Other credentials, if there are any, are used when the socket is opened again.
    if (isRefusal(error)) address.credentials.tryReplace(used);
    if (deadline.aborted) throw new SocketError(`${socket.url}: no answer within ${timeoutMs / 1000} s`);
    throw error;
  } finally {
    ended.removeEventListener("abort", giveUp);
  }
}

/** The server upgrades without the subprotocol. Servers before 3.6.14 authenticate nobody on `/events/in`. */
class NoHandshakeError extends Error {}

/** True for a 401 to the upgrade, and for the close code of self-hosted servers for a wrong token. */
function isRefusal(error: unknown): boolean {
  return (
    error instanceof SocketError && (error.details.status === 401 || error.details.code === closeCode.policyViolation)
  );
}

function openSocket(
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
  return new WebSocket(`${address.apiUrl.replace(/^http/, "ws")}${route}`, inBand ? ["prefect"] : [], {
    headers,
    agent,
    maxPayload: maxFrameBytes,
    // Goes on to node:http; the types of ws do not know it.
    ...{ maxHeaderSize: maxHeaderBytes },
    perMessageDeflate: false,
  });
}

async function opened(socket: WebSocket, inBand: boolean): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    socket.once("open", resolve);
    socket.once("upgrade", (response) => {
      if (inBand && response.headers["sec-websocket-protocol"] === undefined) reject(new NoHandshakeError());
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
    // Stays: closing a socket that never opened is an "error" event too, and nobody else may be listening.
    socket.on("error", (error) => reject(new SocketError(`${socket.url}: ${explainFailure(error)}`)));
    socket.once("close", () => reject(new SocketError(`${socket.url}: closed while it was opened`)));
  });
}

async function authenticate(socket: Socket, token: string | null, signal: AbortSignal): Promise<void> {
  socket.send({ type: "auth", token });
  const { value: answer, done } = await socket.frames(signal).next();
  if (done) throw new SocketError("closed instead of an answer to the authentication");
  const type = (answer as JsonObject | null)?.type;
  if (type !== "auth_success")
    throw new SocketError(`expected auth_success, got ${JSON.stringify(answer).slice(0, 80)}`);
}

/** Adds frames in order of arrival, and pings, to a socket that is being opened. */
function frameSocket(socket: WebSocket, keepAlive: KeepAlive): Socket {
  const received: Json[] = [];
  let end: SocketError | "clean" | undefined;
  let notify: () => void = () => {};
  const finish = (how: SocketError | "clean"): void => {
    end ??= how;
    notify();
  };
  const onDead = (): void => finish(new SocketError(`${socket.url}: no answer to a ping`));
  const liveness = new Liveness(socket, keepAlive.pingMs, onDead);
  let openedAt: number | undefined;
  let isClosedByUs = false;
  socket.on("open", () => {
    openedAt = monotonicMs();
    liveness.opened();
  });
  socket.on("message", (data) => {
    try {
      const text = String(data);
      const frame = JSON.parse(text) as Json;
      keepNumberTexts(text, frame, templateOfFrame);
      received.push(frame);
      notify();
    } catch {
      const error = `${socket.url}: sent a frame that is not JSON`;
      finish(new SocketError(error, { code: closeCode.protocolError }));
      socket.terminate();
    }
  });
  socket.on("error", (error) => finish(new SocketError(`${socket.url}: ${error.message}`)));
  socket.on("close", (code, bytes) => {
    liveness.stop();
    const reason = String(bytes).replace(/\s+/g, " ");
    const clean = code === closeCode.normal || code === closeCode.goingAway;
    const message = `${socket.url}: closed with ${code} ${reason}`.trim();
    if (clean) finish("clean");
    // Only an end that lictor did not cause tells something about proxies on the way.
    else if (code !== closeCode.none || openedAt === undefined || end || isClosedByUs)
      finish(new SocketError(message, { code, reason }));
    else finish(brokenOff(message, keepAlive, openedAt, liveness.silentMs));
  });
  return {
    send: (frame) => socket.send(stringifyExactJson(frame)),
    close(code, reason) {
      isClosedByUs = true;
      socket.close(code, reason);
    },
    async *frames(signal) {
      const onAbort = (): void => notify();
      signal.addEventListener("abort", onAbort);
      try {
        while (!signal.aborted) {
          const frame = received.shift();
          if (frame !== undefined) yield frame;
          else if (end === "clean") return;
          else if (end) throw end;
          else
            await new Promise<void>((resolve) => {
              notify = resolve;
            });
        }
      } finally {
        signal.removeEventListener("abort", onAbort);
      }
    },
    confirmed: (signal) => liveness.confirmed(signal),
    [Symbol.dispose]() {
      isClosedByUs = true;
      socket.close(closeCode.normal);
      // ws waits 30 s for a peer that does not answer the close, which would keep the program alive.
      setTimeout(() => socket.terminate(), 500).unref();
    },
  };
}

/** The error for an established connection that broke off, with its age and, where it is known, the likely cause. */
function brokenOff(message: string, keepAlive: KeepAlive, openedAtMs: number, silentMs: number): SocketError {
  const endedAtMs = monotonicMs();
  const openMs = endedAtMs - openedAtMs;
  const details = { code: closeCode.none, reason: "", openMs, silentMs };
  const learned = keepAlive.learn({ endedAtMs, openMs, silentMs });
  return new SocketError(`${message} after ${inSeconds(openMs)} s`, { ...details, ...learned });
}
