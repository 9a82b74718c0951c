// A TCP proxy with a read timeout, as in front of many servers: it ends connections on which the server is silent.
import { connect, createServer } from "node:net";
import { listenOnLoopback } from "./listen-on-loopback.ts";

/** A listening proxy. */
export interface IdleProxy extends AsyncDisposable {
  url: string;
  /** When each connection began and, if it has, ended, by `performance.now()`. */
  connections: readonly { beganMs: number; endedMs?: number }[];
}

/** Passes bytes on to `target` and breaks a connection off when nothing came from the server for `idleMs`. */
export async function startIdleProxy(target: string, idleMs: number): Promise<IdleProxy> {
  const { hostname, port } = new URL(target);
  const connections: { beganMs: number; endedMs?: number }[] = [];
  const server = createServer((client) => {
    const connection: { beganMs: number; endedMs?: number } = { beganMs: performance.now() };
    connections.push(connection);
    const upstream = connect(Number(port), hostname);
    const end = (): void => {
      connection.endedMs ??= performance.now();
      clearTimeout(timer);
      client.destroy();
      upstream.destroy();
    };
    const timer = setTimeout(end, idleMs);
    upstream.on("data", () => timer.refresh());
    for (const socket of [client, upstream]) socket.on("error", end).on("close", end);
    client.pipe(upstream).pipe(client);
  });
  const { origin, stop } = await listenOnLoopback(server);
  return { url: origin, connections, [Symbol.asyncDispose]: stop };
}
