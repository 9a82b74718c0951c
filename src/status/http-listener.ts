// Lets the worker's HTTP servers listen until they are disposed.
import { once } from "node:events";
import type http from "node:http";
import type { AddressInfo } from "node:net";

/**
 * Listens and returns the port, which the system chooses for port 0. Disposing closes the server and its connections.
 * Throws the system's error if it cannot listen.
 */
export async function listenHttp(
  server: http.Server,
  { host, port }: { host: string; port: number },
): Promise<Disposable & { port: number }> {
  server.listen(port, host);
  await once(server, "listening");
  return {
    port: (server.address() as AddressInfo).port,
    [Symbol.dispose]() {
      server.close();
      server.closeAllConnections();
    },
  };
}
