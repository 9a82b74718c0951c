// Redirects: the new URL, the headers that are sent there, and the advice for the user. Pure.
import type { HttpRequest, HttpResponse } from "./http-message.ts";

/** Headers that another origin may get. No other header, because it may hold credentials or cookies. */
const harmlessHeaders = /^(accept|accept-encoding|user-agent|content-type)$/i;

/**
 * Returns the changes for the redirected request, or undefined if there is no redirect to follow. A write follows only
 * 307 and 308. Other redirects would turn it into a GET, whose response looks like a success. Another origin gets no
 * credentials and no custom headers.
 */
export function redirected(request: HttpRequest, response: HttpResponse): Partial<HttpRequest> | undefined {
  const url = targetOf(response);
  if (url === undefined) return undefined;
  if (response.status < 307 && request.method !== "GET") return undefined;
  if (url.origin === request.url.origin || isUpgrade(request.url, url)) return { url };
  const harmless = Object.entries(request.headers).filter(([name]) => harmlessHeaders.test(name));
  return { url, headers: Object.fromEntries(harmless) };
}

/**
 * Returns true for a redirect from http to https on the same host. The port must be the default or stay the same,
 * because another port may belong to another owner. An attacker who can forge this redirect has already read the
 * credentials.
 */
function isUpgrade(from: URL, to: URL): boolean {
  const isSamePlace = from.hostname === to.hostname && (to.port === "" || to.port === from.port);
  return from.protocol === "http:" && to.protocol === "https:" && isSamePlace;
}

/**
 * Returns the advice for a redirect that was not followed, or undefined for any other response. Shows no query string.
 */
export function redirectAdvice(method: string, path: string, response: HttpResponse): string | undefined {
  const to = targetOf(response);
  if (to === undefined) return undefined;
  const apiUrl = apiUrlAt(to, path);
  if (apiUrl === undefined) {
    return `It is redirected to ${to.origin}${to.pathname}. If that is a login page, a proxy asks for a login of its own, which can go into PREFECT_CLIENT_CUSTOM_HEADERS.`;
  }
  const why = method === "GET" ? "" : `, where a ${method} would become a GET`;
  return `It is redirected to ${to.origin}${to.pathname}${why}. Set PREFECT_API_URL=${apiUrl}.`;
}

/** Returns the API URL for which the route `path` has this `url`, or undefined if there is none. */
export function apiUrlAt(url: URL, path: string): string | undefined {
  const route = (path.split("?")[0] ?? "").replace(/\/$/, "");
  const pathname = url.pathname.replace(/\/$/, "");
  return pathname.endsWith(route) ? url.origin + pathname.slice(0, pathname.length - route.length) : undefined;
}

function targetOf({ status, headers: { location }, url }: HttpResponse): URL | undefined {
  if (status < 300 || status > 399 || !location || !URL.canParse(location, url.href)) return undefined;
  return new URL(location, url);
}
