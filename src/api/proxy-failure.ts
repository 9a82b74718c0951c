// Errors for failures at a proxy. They name the proxy and its environment variable, but not its credentials.
import type { ProxyAddress } from "./connection-options.ts";

/** An error with a code, like Node's system errors. */
export type CodedError = Error & { code: string };

/** Returns the error for a proxy that responds with `status` itself. The code is `PROXY_<status>`. */
export function proxyRefusal(proxy: ProxyAddress, status: number): CodedError {
  const { variable, authorization } = proxy;
  return coded(`the proxy ${proxy.url} of ${variable} ${explain()}`, `PROXY_${status}`);

  function explain(): string {
    if (status !== 407) {
      const reason = status < 500 ? "does not let this host and port through" : "could not reach the server";
      return `${reason} (${status}). To go around the proxy, name the host in NO_PROXY.`;
    }
    return authorization
      ? `refused the user and password in ${variable} (407). Characters like @ : / % in them must be percent-encoded.`
      : `asks for credentials (407). Set ${variable}=http://user:password@host:port.`;
  }
}

/** Returns the error for a proxy that cannot be reached. The code is that of `error`. */
export function proxyFailure(proxy: ProxyAddress, error: NodeJS.ErrnoException): CodedError {
  return coded(`the proxy ${proxy.url} of ${proxy.variable}: ${error.message}`, error.code ?? error.name);
}

function coded(message: string, code: string): CodedError {
  return Object.assign(new Error(message), { code });
}
