// A server of the tests' own on a free loopback port, that can be stopped whatever its clients do.
import { once } from "node:events";
import type { AddressInfo, Server, Socket } from "node:net";

/** The way to a listening server, and out of it. */
export interface LoopbackListener {
  /** `http://127.0.0.1:<port>` */
  origin: string;
  /** Destroys all live connections, upgraded ones too; new ones are accepted. */
  dropAll(): void;
  stop(): Promise<void>;
}

/** Listens on a port that the system chooses, or on this one. */
export async function listenOnLoopback(server: Server, port = 0): Promise<LoopbackListener> {
  const connections = new Set<Socket>();
  server.on("connection", (socket) => {
    connections.add(socket);
    // An upgraded socket has no other listener, and a client may reset it.
    socket.on("error", () => socket.destroy());
    socket.once("close", () => connections.delete(socket));
  });
  server.listen(port, "127.0.0.1");
  await once(server, "listening");
  const dropAll = () => {
    for (const socket of connections) socket.destroy();
  };
  const stop = async () => {
    if (!server.listening) return;
    const closed = once(server, "close");
    server.close();
    dropAll();
    await closed;
  };
  return { origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, dropAll, stop };
}
