// Sends one request to the container engine, over a Unix socket, a named pipe, or TCP.
import { setMaxListeners } from "node:events";
import { type ClientRequest, request as httpRequest, type IncomingMessage, type RequestOptions } from "node:http";
import { request as httpsRequest } from "node:https";
import type { EngineAddress } from "./engine-address.ts";

/** A request as it is sent. */
export interface EngineRequest {
  readonly method: string;
  /** With the version and the query. */
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  /** JSON. */
  readonly body: string | undefined;
}

/** The head of a response, and its body as it arrives. */
export interface EngineResponse extends AsyncIterable<Buffer> {
  readonly statusCode?: number | undefined;
}

/**
 * Sends a request and resolves with the response as soon as that begins. If one of `signals` aborts, the call or the body
 * fails. Throws the system's error.
 */
export type SendToEngine = (
  address: EngineAddress,
  request: EngineRequest,
  signals: readonly AbortSignal[],
) => Promise<EngineResponse>;

/** Sends over HTTP. */
export const sendOverHttp: SendToEngine = async (
  { socketPath, tcp, tls },
  { method, path, headers, body },
  signals,
) => {
  const options: RequestOptions = {
    ...(socketPath === null ? { host: tcp?.hostname, port: tcp?.port } : { socketPath }),
    ...{ method, path },
    headers: {
      // A path is no host name. Over TCP, Node.js would also compare this header with the certificate.
      ...(socketPath !== null && { host: "docker" }),
      ...(body !== undefined && { "content-type": "application/json", "content-length": Buffer.byteLength(body) }),
      ...headers,
    },
    // Each request has a connection of its own: one that is kept would be broken after a restart of the engine.
    agent: false,
    ...tls,
  };
  return await new Promise<IncomingMessage>((resolve, reject) => {
    const request: ClientRequest = (tls ? httpsRequest : httpRequest)(options, resolve);
    const abort = (): void => void request.destroy(new Error("aborted"));
    request.on("error", reject);
    request.once("close", () => {
      for (const signal of signals) signal.removeEventListener("abort", abort);
    });
    for (const signal of signals) {
      // Many calls may follow one signal at a time, and Node.js warns of more than ten listeners.
      setMaxListeners(0, signal);
      signal.addEventListener("abort", abort);
    }
    request.end(body);
  });
};
