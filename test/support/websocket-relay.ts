// Passes one WebSocket connection on to another server, frame by frame, pings included.
import { type IncomingHttpHeaders, type IncomingMessage, STATUS_CODES } from "node:http";
import type { Duplex } from "node:stream";
import { type RawData, WebSocket, WebSocketServer } from "ws";

/** Rewrites a text frame, loses it (null), or closes the connection instead of passing it on. */
export type FrameRule = (text: string, index: number) => string | null | { close: number; reason: string };

/** What happens to frames on their way; without rules they pass as they are. */
export interface RelayRules {
  fromClient?: FrameRule;
  fromServer?: FrameRule;
}

/** Answers an upgrade request with a plain HTTP status. */
export function refuseUpgrade(socket: Duplex, status: number): void {
  socket.end(`HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ""}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`);
}

/** Where a connection is passed on to, with which headers, and what is done to its frames. */
export interface RelayTarget {
  url: string;
  headers: IncomingHttpHeaders;
  rules: RelayRules;
}

/** Opens the target with the subprotocols that the request offers, then answers the request as the target answered. */
export function relayWebSocket(request: IncomingMessage, socket: Duplex, head: Buffer, target: RelayTarget): void {
  const { url, headers, rules } = target;
  const offered = request.headers["sec-websocket-protocol"]?.split(",").map((name) => name.trim()) ?? [];
  const upstream = new WebSocket(url, offered, { headers, autoPong: false });
  socket.once("close", () => upstream.terminate());
  upstream.once("unexpected-response", (_request, response) => {
    refuseUpgrade(socket, response.statusCode ?? 502);
    upstream.terminate();
  });
  upstream.on("error", () => socket.destroy());
  upstream.once("open", () => {
    const acceptor = new WebSocketServer({
      noServer: true,
      autoPong: false,
      handleProtocols: () => upstream.protocol || false,
    });
    acceptor.handleUpgrade(request, socket, head, (client) => {
      passOn(client, upstream, rules.fromClient);
      passOn(upstream, client, rules.fromServer);
    });
  });
}

function passOn(from: WebSocket, to: WebSocket, rule: FrameRule | undefined): void {
  let index = 0;
  from.on("message", (data: RawData, isBinary: boolean) => {
    const passed = rule && !isBinary ? rule(data.toString(), index++) : (data as Buffer);
    if (passed === null) return;
    if (typeof passed === "object" && "close" in passed) {
      from.close(passed.close, passed.reason);
      to.terminate();
    } else {
      to.send(passed, { binary: isBinary });
    }
  });
  from.on("ping", (data) => to.ping(data));
  from.on("pong", (data) => to.pong(data));
  // The peer's own close handshake follows; a socket that breaks off is an error of one side only.
  from.on("error", () => to.terminate());
  from.on("close", (code, reason) => {
    if (code === 1006) to.terminate();
    else if (code === 1005) to.close();
    else to.close(code, reason);
  });
}
