// Node's HTTP agents, with or without a proxy. The proxy library is loaded only if a proxy is used.
import http from "node:http";
import type { AgentsOptions, ProxyAddress } from "./connection-options.ts";
import { proxyFailure, proxyRefusal } from "./proxy-failure.ts";

/** An agent, and the proxy that its connections go through. */
export interface Route {
  agent: http.Agent;
  proxy: ProxyAddress | undefined;
}

/**
 * A group of requests that share connections. Each lane has its own connections. So a poll never waits for a connection
 * that a hanging read occupies. The lanes `…-again` are for repeated reads, because they need a new connection.
 * Responses without an end have the lane `stream`.
 */
export type Lane =
  | "poll"
  | "poll-again"
  | "watch"
  | "watch-again"
  | "heartbeat"
  | "state"
  | "request"
  | "token"
  | "token-again"
  | "socket"
  | "stream";

/** Connections are kept alive. Each lane has at most 16, which is the size of the reference's only pool. */
const pool = {
  keepAlive: true,
  maxSockets: 16,
  // The time for each address of a host. Node's default of 250 ms fails on a link with more latency.
  autoSelectFamilyAttemptTimeout: 2_000,
};

/** How many idle connections stay open, 15 in all. An idle TLS connection takes about 50 kB. */
const idleConnections: Readonly<Record<Lane, number>> = {
  poll: 1,
  "poll-again": 1,
  heartbeat: 1,
  state: 4,
  request: 8,
  // These are rare: a CSRF token is valid for an hour, and a look at cancellations comes every 12 s.
  watch: 0,
  "watch-again": 0,
  token: 0,
  "token-again": 0,
  socket: 0,
  stream: 0,
};

/**
 * An idle connection may have become half-open, and a request on it waits for the whole time limit. These requests delay a
 * flow run, and they come in bursts, so their connections are closed early. A poll is repeated instead.
 */
const idleLimitMs: Partial<Record<Lane, number>> = { state: 5_000, request: 5_000 };

/** Returns the options of the connections of a lane. Node.js applies `timeout` to idle connections only. */
function poolOf(lane: Lane) {
  const timeout = idleLimitMs[lane];
  // A stream has its connection for hours, so a limit would be one of streams.
  const maxSockets = lane === "stream" ? Number.POSITIVE_INFINITY : pool.maxSockets;
  return { ...pool, maxSockets, maxFreeSockets: idleConnections[lane], ...(timeout !== undefined && { timeout }) };
}

/** Keeps one agent per lane, scheme and proxy. Disposing ends their sockets. */
export class Agents implements Disposable {
  readonly #opened = new Map<string, http.Agent>();
  /** The newest TLS session by origin. It saves one round trip for a new connection of any lane. */
  readonly #tlsSessions = new Map<string, Buffer>();

  constructor(private readonly options: AgentsOptions) {}

  /** Returns the agent for an http: or https: URL. Throws what `proxyFor` throws. */
  async route(url: URL, lane: Lane): Promise<Route> {
    const proxy = this.options.proxyFor(url);
    const isSecure = url.protocol === "https:";
    if (!proxy) {
      // Not loaded for http:, because it loads all of TLS.
      const secure = isSecure ? await import("./secure-agent.ts") : undefined;
      const options = poolOf(lane);
      const openDirect = (): http.Agent =>
        secure
          ? new secure.SecureAgent({ ...options, ...this.options.tls }, this.#tlsSessions)
          : new http.Agent(options);
      return { proxy, agent: this.#reuse(`${lane} ${url.protocol}`, openDirect) };
    }
    const { openProxyAgent } = await import("./proxy-agent.ts");
    // A proxy can read and forward a plain request. TLS and WebSockets need a tunnel through it.
    const isTunnel = isSecure || lane === "socket";
    const agent = this.#reuse(`${lane} ${url.protocol} ${proxy.url}`, () =>
      openProxyAgent({
        proxy,
        isSecure,
        isTunnel,
        // No limit, because the library forgets its waiting requests when a connection fails.
        pool: { ...poolOf(lane), maxSockets: Number.POSITIVE_INFINITY },
        tls: this.options.tls,
        timeoutMs: this.options.timeoutMs,
        refusal: (status) => proxyRefusal(proxy, status),
        failure: (error) => proxyFailure(proxy, error),
      }),
    );
    return { proxy, agent };
  }

  /** Closes the connections of a lane, so that its next request opens a new one. */
  closeLane(lane: Lane): void {
    for (const [key, agent] of this.#opened) if (key.startsWith(`${lane} `)) agent.destroy();
  }

  [Symbol.dispose](): void {
    for (const agent of this.#opened.values()) agent.destroy();
  }

  #reuse(key: string, open: () => http.Agent): http.Agent {
    const agent = this.#opened.get(key) ?? open();
    this.#opened.set(key, agent);
    return agent;
  }
}
