// Pings: whether the other side is there, and has read what was sent.
import WebSocket from "ws";
import { SocketError } from "./socket-error.ts";

/** The reference's keep-alive: a ping every 20 s, dead when it stays unanswered for 20 s. */
const pingIntervalMs = 20_000;

/** Resolves when the other side has answered a ping, or `signal` aborts; throws SocketError when the socket closes. */
export async function pong(socket: WebSocket, signal: AbortSignal): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    const listening = new AbortController();
    const end = (settle: () => void): void => {
      listening.abort();
      socket.off("pong", onPong);
      socket.off("close", onClose);
      settle();
    };
    const onPong = (): void => end(resolve);
    const onClose = (): void => end(() => reject(new SocketError(`${socket.url}: closed before it confirmed`)));
    socket.on("pong", onPong);
    socket.on("close", onClose);
    signal.addEventListener("abort", onPong, { signal: listening.signal });
    if (socket.readyState === WebSocket.OPEN) socket.ping();
    else onClose();
  });
}

/** Pings; a ping that is unanswered when the next is due ends the socket, which nothing else would notice. */
export function watchLiveness(socket: WebSocket, onDead: () => void): NodeJS.Timeout {
  let answered = true;
  socket.on("pong", () => {
    answered = true;
  });
  return setInterval(() => {
    if (!answered) {
      onDead();
      socket.terminate();
      return;
    }
    answered = false;
    socket.ping();
  }, pingIntervalMs);
}
