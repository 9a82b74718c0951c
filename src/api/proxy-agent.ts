// Agents that go through a proxy. Loaded only when one is set, so nothing here is imported by the rest but for types.
import type http from "node:http";
import type net from "node:net";
import { HttpProxyAgent } from "http-proxy-agent";
import { HttpsProxyAgent } from "https-proxy-agent";
import type { AgentsOptions, ProxyAddress } from "./connection-options.ts";

/** A way through one proxy. */
export interface ProxyAgentOptions {
  proxy: ProxyAddress;
  /** Whether the URLs begin with https:. */
  isSecure: boolean;
  /** CONNECT instead of a request for an absolute URL. */
  isTunnel: boolean;
  pool: http.AgentOptions;
  /** Whom to trust: the proxy, if it speaks TLS, and the server behind it. */
  tls: AgentsOptions["tls"];
  /** Bounds connecting to the proxy and its answer. */
  timeoutMs: number;
  /** The error for a proxy that answers CONNECT with another status than 200. */
  refusal: (status: number) => Error;
  /** The error for a proxy that cannot be connected to. */
  failure: (error: Error) => Error;
}

/** Opens nothing until the first request. */
export function openProxyAgent(options: ProxyAgentOptions): http.Agent {
  return options.isTunnel ? new TunnelAgent(options) : new ForwardAgent(options);
}

type TunnelRequest = Parameters<HttpsProxyAgent<string>["connect"]>;
type ForwardRequest = Parameters<HttpProxyAgent<string>["connect"]>;

/** https: and WebSockets: through CONNECT. */
class TunnelAgent extends HttpsProxyAgent<string> {
  constructor(private readonly how: ProxyAgentOptions) {
    super(how.proxy.url, agentOptions(how));
  }

  override async connect(request: TunnelRequest[0], options: TunnelRequest[1]): Promise<net.Socket> {
    const { tls, refusal } = this.how;
    let status = 0;
    request.once("proxyConnect", (answer: { statusCode: number }) => {
      status = answer.statusCode;
    });
    const socket = await connecting(request, this.how, (signal) => {
      this.connectOpts = { ...this.connectOpts, signal };
      // The library keeps its options to the connection with the proxy: the server within needs the same trust.
      return super.connect(request, { ...options, ...tls } as TunnelRequest[1]);
    });
    if (status === 200) return socket;
    // The library would hand out the proxy's answer as if it were the server's.
    socket.destroy();
    throw refusal(status);
  }

  /** The library would guess, from a stack trace. */
  override isSecureEndpoint(): boolean {
    return this.how.isSecure;
  }
}

/** http: by requests that name the whole URL. */
class ForwardAgent extends HttpProxyAgent<string> {
  constructor(private readonly how: ProxyAgentOptions) {
    super(how.proxy.url, agentOptions(how));
  }

  override async connect(request: ForwardRequest[0], options: ForwardRequest[1]): Promise<net.Socket> {
    return await connecting(request, this.how, (signal) => {
      this.connectOpts = { ...this.connectOpts, signal };
      return super.connect(request, options);
    });
  }

  override isSecureEndpoint(): boolean {
    return false;
  }
}

/** The credentials go in as a header: the library decodes those of a URL in a way that can throw. */
function agentOptions({ proxy, pool, tls }: ProxyAgentOptions) {
  const headers = proxy.authorization ? { "Proxy-Authorization": proxy.authorization } : {};
  return { ...pool, ...tls, headers };
}

/**
 * Ends a connection that takes too long, or whose request is given up: the request has no socket yet that would end
 * with it. `connect` has to begin with the signal before it first waits.
 */
async function connecting(
  request: http.ClientRequest,
  { timeoutMs, failure }: ProxyAgentOptions,
  connect: (signal: AbortSignal) => Promise<net.Socket>,
): Promise<net.Socket> {
  const attempt = new AbortController();
  const timer = setTimeout(() => attempt.abort(timeoutError(timeoutMs)), timeoutMs);
  const { destroy } = request;
  request.destroy = (error) => {
    attempt.abort(error);
    return destroy.call(request, error);
  };
  if (request.destroyed) attempt.abort();
  try {
    return await connect(attempt.signal);
  } catch (error) {
    throw failure((attempt.signal.aborted ? attempt.signal.reason : error) as Error);
  } finally {
    clearTimeout(timer);
    request.destroy = destroy;
  }
}

function timeoutError(timeoutMs: number): Error {
  return Object.assign(new Error(`no answer within ${timeoutMs / 1000} s`), { code: "ETIMEDOUT" });
}
