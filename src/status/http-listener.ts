// Listening of the worker's own HTTP servers, until they are disposed.
import { once } from "node:events";
import type http from "node:http";
import type { AddressInfo } from "node:net";

/**
 * Listens, and gives the port, which the system chooses for 0. Disposing closes the server and its connections. Throws the
 * system's error when the address cannot be listened on.
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
