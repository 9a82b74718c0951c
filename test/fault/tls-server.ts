// A TLS server of the tests' own. Key and certificate are for 127.0.0.1, self-signed, and protect nothing; made by
// openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 36500 -subj /CN=127.0.0.1 \
//   -addext subjectAltName=IP:127.0.0.1
import type { IncomingMessage } from "node:http";
import { createServer } from "node:https";
import { listenOnLoopback } from "../support/listen-on-loopback.ts";

/** The certificate, which a client has to be told to trust. */
export const certificate = `-----BEGIN CERTIFICATE-----
MIIBkTCCATagAwIBAgIUB9dTFzE9nTK/v+5zQb6E9xp7DDswCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJMTI3LjAuMC4xMCAXDTI2MTEyMzEzNTAwMloYDzIxMjYxMDMw
MTM1MDAyWjAUMRIwEAYDVQQDDAkxMjcuMC4wLjEwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAAQkqpuIcLo50q1ckvR/gTxPfqTFZ1DZkOgAfdV3vb7aaacD6oTrZ+2G
nQVqpGp4I/gxjZA7N81FO5vYfzYvG7aso2QwYjAdBgNVHQ4EFgQUQkT/lnJaKElt
Z+ddwdMbuIBZt8YwHwYDVR0jBBgwFoAUQkT/lnJaKEltZ+ddwdMbuIBZt8YwDwYD
VR0TAQH/BAUwAwEB/zAPBgNVHREECDAGhwR/AAABMAoGCCqGSM49BAMCA0kAMEYC
IQCJDvFvD+iE7oV6oo3dJA7cPSUFFt4/a3lX7J19OcKTDQIhANCCRYzAOk9Ma8cV
mUqLCdEuwQMXa68Sl4iyEdgeQfDf
-----END CERTIFICATE-----`;

/** Its key. A client may show both as its own certificate. */
export const privateKey = `-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg4lR9uVndjMn1Xk9+
clRXAUa7KBkc7C33iwjrRRErDo6hRANCAAQkqpuIcLo50q1ckvR/gTxPfqTFZ1DZ
kOgAfdV3vb7aaacD6oTrZ+2GnQVqpGp4I/gxjZA7N81FO5vYfzYvG7as
-----END PRIVATE KEY-----`;

/** A listening server that answers everything with `{"secure":true}`. */
export interface TlsServer extends AsyncDisposable {
  origin: string;
  requests: readonly IncomingMessage[];
  /** Connections that came as far as TCP. */
  readonly connections: number;
}

/** Starts it on a free loopback port. */
export async function startTlsServer(): Promise<TlsServer> {
  const requests: IncomingMessage[] = [];
  let connections = 0;
  const server = createServer(
    { key: privateKey, cert: certificate, requestCert: true, rejectUnauthorized: false },
    (request, response) => {
      requests.push(request);
      response.end('{"secure":true}');
    },
  );
  server.on("connection", () => connections++);
  const { origin, stop } = await listenOnLoopback(server);
  return {
    origin: origin.replace("http:", "https:"),
    requests,
    get connections() {
      return connections;
    },
    [Symbol.asyncDispose]: stop,
  };
}
