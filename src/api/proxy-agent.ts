// Agents whose connections go through a proxy. Loaded only if a proxy is set, so other files import only its types.
import type http from "node:http";
import type net from "node:net";
import { isIP } from "node:net";
import { type ConnectionOptions, checkServerIdentity } from "node:tls";
import { HttpProxyAgent } from "http-proxy-agent";
import { HttpsProxyAgent } from "https-proxy-agent";
import type { AgentsOptions, ProxyAddress } from "./connection-options.ts";

/** How to connect through one proxy. */
export interface ProxyAgentOptions {
  proxy: ProxyAddress;
  /** True if the requested URLs begin with https:. */
  isSecure: boolean;
  /** True for a tunnel by CONNECT. False for requests that name the absolute URL. */
  isTunnel: boolean;
  pool: http.AgentOptions;
  /** The trusted certificates, for a proxy that speaks TLS and for the server behind it. */
  tls: AgentsOptions["tls"];
  /** The time limit for connecting to the proxy and for its response to CONNECT. */
  timeoutMs: number;
  /** Returns the error for a proxy that answers CONNECT with a status other than 200. */
  refusal: (status: number) => Error;
  /** Returns the error for a failed connection to the proxy. */
  failure: (error: Error) => Error;
}

/** Returns the agent. It opens no connection before the first request. */
export function openProxyAgent(options: ProxyAgentOptions): http.Agent {
  return options.isTunnel ? new TunnelAgent(options) : new ForwardAgent(options);
}

type TunnelRequest = Parameters<HttpsProxyAgent<string>["connect"]>;
type ForwardRequest = Parameters<HttpProxyAgent<string>["connect"]>;

/** For https: and WebSockets, by CONNECT. */
class TunnelAgent extends HttpsProxyAgent<string> {
  constructor(private readonly proxyOptions: ProxyAgentOptions) {
    super(proxyOptions.proxy.url, agentOptions(proxyOptions));
  }

  override async connect(request: TunnelRequest[0], options: TunnelRequest[1]): Promise<net.Socket> {
    const { tls, refusal } = this.proxyOptions;
    let status = 0;
    request.once("proxyConnect", (response: { statusCode: number }) => {
      status = response.statusCode;
    });
    const socket = await withTimeLimit(request, this.proxyOptions, (signal) => {
      this.connectOpts = { ...this.connectOpts, signal };
      // The library uses its options only for the proxy. The server behind it needs the same TLS options.
      const inner = { ...options, ...tls, ...identityOf(options.host ?? "", tls) };
      return super.connect(request, inner as TunnelRequest[1]);
    });
    if (status === 200) return socket;
    // The library would return the proxy's response as if it were the server's.
    socket.destroy();
    throw refusal(status);
  }

  /** Overridden, because the library guesses from a stack trace. */
  override isSecureEndpoint(): boolean {
    return this.proxyOptions.isSecure;
  }
}

/** The library forgets a host that is an address, and then the certificate would have to be one for `localhost`. */
function identityOf(
  host: string,
  { servername }: AgentsOptions["tls"],
): Pick<ConnectionOptions, "checkServerIdentity"> {
  if (isIP(host) === 0 || servername !== undefined) return {};
  return { checkServerIdentity: (_name, certificate) => checkServerIdentity(host, certificate) };
}

/** For http:, by requests that name the absolute URL. */
class ForwardAgent extends HttpProxyAgent<string> {
  constructor(private readonly proxyOptions: ProxyAgentOptions) {
    super(proxyOptions.proxy.url, agentOptions(proxyOptions));
  }

  override async connect(request: ForwardRequest[0], options: ForwardRequest[1]): Promise<net.Socket> {
    return await withTimeLimit(request, this.proxyOptions, (signal) => {
      this.connectOpts = { ...this.connectOpts, signal };
      return super.connect(request, options);
    });
  }

  override isSecureEndpoint(): boolean {
    return false;
  }
}

/** Credentials are sent as a header, because the library throws for some credentials in a URL. */
function agentOptions({ proxy, pool, tls: { ca, rejectUnauthorized } }: ProxyAgentOptions) {
  const headers = proxy.authorization ? { "Proxy-Authorization": proxy.authorization } : {};
  return { ...pool, ca, rejectUnauthorized, headers };
}

/**
 * Ends a connection attempt after `timeoutMs`, or when its request is destroyed. The request has no socket yet, so
 * destroying it would not end the attempt. `connect` must use the signal before its first await.
 */
async function withTimeLimit(
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
