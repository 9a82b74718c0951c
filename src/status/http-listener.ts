// Lets the program's HTTP servers listen until they are disposed.
import { once } from "node:events";
import type http from "node:http";
import type { AddressInfo } from "node:net";
import type { Logger } from "../logger.ts";

/** Where to listen. `log` gets the errors of the listening server. */
export interface ListenOptions {
  host: string;
  port: number;
  log: Logger;
}

/**
 * Listens and returns the port, which the system chooses for port 0. Disposing closes the server and its connections.
 * Throws the system's error if it cannot listen.
 */
export async function listenHttp(
  server: http.Server,
  { host, port, log }: ListenOptions,
): Promise<Disposable & { port: number }> {
  server.listen(port, host);
  await once(server, "listening");
  const address = server.address() as AddressInfo;
  logServerErrors(server, `${host}:${address.port}`, log);
  return {
    port: address.port,
    [Symbol.dispose]() {
      server.close();
      server.closeAllConnections();
    },
  };
}

/**
 * Logs the errors of a server that listens at `where`. The first is a warning. Without a listener, an error such as
 * EMFILE for a new connection would end up as an uncaught exception. The server keeps listening after it.
 */
export function logServerErrors(server: http.Server, where: string, log: Logger): void {
  let isWarned = false;
  server.on("error", (error) => {
    log[isWarned ? "debug" : "warn"]({ err: error }, `A connection to ${where} could not be accepted`);
    isWarned = true;
  });
}
