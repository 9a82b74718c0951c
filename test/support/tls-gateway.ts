// A gateway that takes TLS connections and passes on, byte by byte, what is inside to a server that knows no TLS.
import { connect } from "node:net";
import { pipeline } from "node:stream";
import { createServer } from "node:tls";
import type { ServerCertificate } from "./certificates.ts";
import { listenOnLoopback } from "./listen-on-loopback.ts";

/** A listening gateway. */
export interface TlsGateway extends AsyncDisposable {
  apiUrl: string;
  /** Handshakes that the client has finished. */
  readonly connections: number;
}

/** Starts a gateway to `target`, the API URL of a real server, on a free loopback port. */
export async function startTlsGateway(target: string, certificate: ServerCertificate): Promise<TlsGateway> {
  const { hostname, port, pathname } = new URL(target);
  let connections = 0;
  const server = createServer(certificate, (client) => {
    connections++;
    const upstream = connect(Number(port), hostname);
    // A connection that breaks on either side ends the other one.
    pipeline(client, upstream, client, () => undefined);
  });
  const { origin, stop } = await listenOnLoopback(server);
  return {
    apiUrl: `${origin.replace("http:", "https:")}${pathname}`,
    get connections() {
      return connections;
    },
    [Symbol.asyncDispose]: stop,
  };
}
