// The options of connections: trusted certificates, proxy and time limit.

/** A proxy. `url` has no user and password. `variable` is the environment variable that names the proxy. */
export interface ProxyAddress {
  readonly url: string;
  /** The value of the header Proxy-Authorization, or null without credentials. */
  readonly authorization: string | null;
  readonly variable: string;
}

/** The options of connections. */
export interface AgentsOptions {
  /** `ca` is PEM text and replaces Node's root certificates. */
  tls: { readonly ca: string | undefined; readonly rejectUnauthorized: boolean };
  /** Returns the proxy for `url`, or undefined for a direct connection. May throw. */
  proxyFor: (url: URL) => ProxyAddress | undefined;
  /** The time limit for a connection through a proxy. */
  timeoutMs: number;
}
