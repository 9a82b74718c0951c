// The agent for https: URLs.
import https from "node:https";
import type { Duplex } from "node:stream";
import type { TLSSocket } from "node:tls";

/** An agent that shares its TLS sessions with the other agents of the same options. */
export class SecureAgent extends https.Agent {
  constructor(
    options: https.AgentOptions,
    private readonly sessions: Map<string, Buffer>,
  ) {
    // Node's own session cache is off, because it is not shared between agents.
    super({ ...options, maxCachedSessions: 0 });
  }

  override createConnection(
    options: https.RequestOptions,
    callback?: (error: Error | null, stream: Duplex) => void,
  ): Duplex | null | undefined {
    const origin = `${options.servername ?? ""} ${options.host ?? ""}:${options.port ?? ""}`;
    const session = this.sessions.get(origin);
    const socket = super.createConnection({ ...options, ...(session && { session }) }, callback) as TLSSocket;
    socket.on("session", (newer: Buffer) => this.sessions.set(origin, newer));
    // The server may have forgotten or refused the session, so the next connection does not use it.
    socket.once("close", (hadError: boolean) => hadError && this.sessions.delete(origin));
    return socket;
  }
}
