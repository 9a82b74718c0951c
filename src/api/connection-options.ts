// How connections are made: whom to trust, and which proxy they go through.

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
