// Node's agents for every way out: directly, or through a proxy, whose library is loaded only then.
import http from "node:http";
import https from "node:https";
import { proxyFailure, proxyRefusal } from "./proxy-failure.ts";

/** A proxy; `url` is without user and password, `variable` is the environment variable that names it. */
export interface ProxyAddress {
  readonly url: string;
  /** The value of the header Proxy-Authorization, null for none. */
  readonly authorization: string | null;
  readonly variable: string;
}

/** How connections are made. */
export interface AgentsOptions {
  /** PEM text of whom to trust instead of Node's own roots, and whether to check at all. */
  tls: { readonly ca: string | undefined; readonly rejectUnauthorized: boolean };
  /** The proxy on the way to `url`, undefined for none; may throw. */
  proxyFor: (url: URL) => ProxyAddress | undefined;
  /** Bounds how long a proxy may take to connect. */
  timeoutMs: number;
}

/** An agent, and the proxy that it goes through. */
export interface Route {
  agent: http.Agent;
  proxy: ProxyAddress | undefined;
}

/** Keeps sockets alive and 16 of them at most, as the reference's pool. */
const pool = { keepAlive: true, maxSockets: 16, maxFreeSockets: 8 };

/** One agent for each way out that was asked for. Disposing ends their sockets. */
export class Agents implements Disposable {
  readonly #opened = new Map<string, http.Agent>();

  constructor(private readonly options: AgentsOptions) {}

  /** The way to `url`, of http: or https:, for a request or for a WebSocket. Throws what `proxyFor` throws. */
  async route(url: URL, use: "request" | "socket"): Promise<Route> {
    const proxy = this.options.proxyFor(url);
    const isSecure = url.protocol === "https:";
    if (!proxy) return { proxy, agent: this.#reuse(url.protocol, () => this.#openDirect(isSecure)) };
    const { openProxyAgent } = await import("./proxy-agent.ts");
    // A plain request is one the proxy can read and forward; all else needs a tunnel through it.
    const isTunnel = isSecure || use === "socket";
    const agent = this.#reuse(`${url.protocol} ${isTunnel} ${proxy.url}`, () =>
      openProxyAgent({
        proxy,
        isSecure,
        isTunnel,
        // With a limit the library forgets who waits for a free socket once a connection fails.
        pool: { ...pool, maxSockets: Number.POSITIVE_INFINITY },
        tls: this.options.tls,
        timeoutMs: this.options.timeoutMs,
        refusal: (status) => proxyRefusal(proxy, status),
        failure: (error) => proxyFailure(proxy, error),
      }),
    );
    return { proxy, agent };
  }

  [Symbol.dispose](): void {
    for (const agent of this.#opened.values()) agent.destroy();
  }

  #openDirect(isSecure: boolean): http.Agent {
    return isSecure ? new https.Agent({ ...pool, ...this.options.tls }) : new http.Agent(pool);
  }

  #reuse(key: string, open: () => http.Agent): http.Agent {
    const agent = this.#opened.get(key) ?? open();
    this.#opened.set(key, agent);
    return agent;
  }
}
