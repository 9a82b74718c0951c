// What goes wrong at a proxy, as errors that name it and the variable it comes from, without its credentials.
import type { ProxyAddress } from "./connection-options.ts";

/** An error with a code as Node's errors have one. */
export type CodedError = Error & { code: string };

/** The error for a proxy that answers with `status` itself; its code is `PROXY_<status>`. */
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

/** The error for a proxy that cannot be reached; the code is that of `error`. */
export function proxyFailure(proxy: ProxyAddress, error: NodeJS.ErrnoException): CodedError {
  return coded(`the proxy ${proxy.url} of ${proxy.variable}: ${error.message}`, error.code ?? error.name);
}

function coded(message: string, code: string): CodedError {
  return Object.assign(new Error(message), { code });
}
