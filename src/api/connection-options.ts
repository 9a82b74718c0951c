// The options of connections: trusted certificates, proxy and time limit.

/** A proxy. `url` has no user and password. `variable` is the environment variable that names the proxy. */
export interface ProxyAddress {
  readonly url: string;
  /** The value of the header Proxy-Authorization, or null without credentials. */
  readonly authorization: string | null;
  readonly variable: string;
}

/** What is trusted, and how the client proves who it is. */
export interface TlsOptions {
  /** PEM text that replaces Node's root certificates. */
  readonly ca: string | undefined;
  readonly rejectUnauthorized: boolean;
  /** The client certificate and its key, as PEM text. */
  readonly cert?: string;
  readonly key?: string;
  /** The name that the server's certificate must have, if it is not the host of the URL. */
  readonly servername?: string;
}

/** The options of connections. */
export interface AgentsOptions {
  tls: TlsOptions;
  /** Returns the proxy for `url`, or undefined for a direct connection. May throw. */
  proxyFor: (url: URL) => ProxyAddress | undefined;
  /** The time limit for a connection through a proxy. */
  timeoutMs: number;
}
