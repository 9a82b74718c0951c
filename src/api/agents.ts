// Node's agents for every way out: directly, or through a proxy, whose library is loaded only then.
import http from "node:http";
import https from "node:https";
import type { Duplex } from "node:stream";
import type { TLSSocket } from "node:tls";
import type { AgentsOptions, ProxyAddress } from "./connection-options.ts";
import { proxyFailure, proxyRefusal } from "./proxy-failure.ts";

/** An agent, and the proxy that it goes through. */
export interface Route {
  agent: http.Agent;
  proxy: ProxyAddress | undefined;
}

/**
 * Connections that wait for each other. Each lane has connections of its own, so that a poll never waits until reads that
 * hang have freed one. `poll` and `poll-again` are for the same requests: the second one opens a new connection.
 */
export type Lane = "poll" | "poll-again" | "heartbeat" | "state" | "request" | "socket";

/** Keeps connections alive, 16 of them at most in each lane, as many as the reference's only pool has. */
const pool = {
  keepAlive: true,
  maxSockets: 16,
  // Of a host's addresses, each gets this long. Node's default of 250 ms fails on a link with more latency.
  autoSelectFamilyAttemptTimeout: 2_000,
};

/** How many connections stay open while nothing is sent, 15 in all. An idle one over TLS takes some 50 kB. */
const idleConnections: Readonly<Record<Lane, number>> = {
  poll: 1,
  "poll-again": 1,
  heartbeat: 1,
  state: 4,
  request: 8,
  socket: 0,
};

/** One agent for each way out that was asked for. Disposing ends their sockets. */
export class Agents implements Disposable {
  readonly #opened = new Map<string, http.Agent>();
  /** The newest TLS session by origin: with it, a new connection of any lane costs one round trip less. */
  readonly #tlsSessions = new Map<string, Buffer>();

  constructor(private readonly options: AgentsOptions) {}

  /** The way to `url`, of http: or https:. Throws what `proxyFor` throws. */
  async route(url: URL, lane: Lane): Promise<Route> {
    const proxy = this.options.proxyFor(url);
    const isSecure = url.protocol === "https:";
    if (!proxy) return { proxy, agent: this.#reuse(`${lane} ${url.protocol}`, () => this.#openDirect(isSecure, lane)) };
    const { openProxyAgent } = await import("./proxy-agent.ts");
    // A plain request is one the proxy can read and forward; all else needs a tunnel through it.
    const isTunnel = isSecure || lane === "socket";
    const agent = this.#reuse(`${lane} ${url.protocol} ${proxy.url}`, () =>
      openProxyAgent({
        proxy,
        isSecure,
        isTunnel,
        // With a limit the library forgets who waits for a free socket once a connection fails.
        pool: { ...pool, maxFreeSockets: idleConnections[lane], maxSockets: Number.POSITIVE_INFINITY },
        tls: this.options.tls,
        timeoutMs: this.options.timeoutMs,
        refusal: (status) => proxyRefusal(proxy, status),
        failure: (error) => proxyFailure(proxy, error),
      }),
    );
    return { proxy, agent };
  }

  /** Closes the connections of a lane: its next request opens a new one. */
  closeLane(lane: Lane): void {
    for (const [key, agent] of this.#opened) if (key.startsWith(`${lane} `)) agent.destroy();
  }

  [Symbol.dispose](): void {
    for (const agent of this.#opened.values()) agent.destroy();
  }

  #openDirect(isSecure: boolean, lane: Lane): http.Agent {
    const options = { ...pool, maxFreeSockets: idleConnections[lane] };
    return isSecure ? new SecureAgent({ ...options, ...this.options.tls }, this.#tlsSessions) : new http.Agent(options);
  }

  #reuse(key: string, open: () => http.Agent): http.Agent {
    const agent = this.#opened.get(key) ?? open();
    this.#opened.set(key, agent);
    return agent;
  }
}

/** An agent that shares its TLS sessions with others of the same options. */
class SecureAgent extends https.Agent {
  constructor(
    options: https.AgentOptions,
    private readonly sessions: Map<string, Buffer>,
  ) {
    // Node's own cache of sessions would be one per agent.
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
    // A session that the server has forgotten or refuses is not tried again.
    socket.once("close", (hadError: boolean) => hadError && this.sessions.delete(origin));
    return socket;
  }
}
