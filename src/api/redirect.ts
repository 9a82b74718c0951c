// Where a redirected request goes, what it takes along, and what a user should do about it. Pure.
import type { HttpRequest, HttpResponse } from "./http-message.ts";

/** What another origin may know of a request: nothing that a user, a server or a proxy has handed out. */
const harmlessHeaders = /^(accept|accept-encoding|user-agent|content-type)$/i;

/**
 * Returns what changes for the redirected request, or undefined where there is no redirect to follow. A write is followed only
 * by 307 and 308: the others would make a read of it, whose answer looks like success. Another origin gets no credentials and
 * no custom headers.
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
 * True for the same host over https, at the default port or at the same one: what a server does that wants TLS. Whoever could
 * forge such a redirect has read the credentials already. Another port may be another program of another owner.
 */
function isUpgrade(from: URL, to: URL): boolean {
  const isSamePlace = from.hostname === to.hostname && (to.port === "" || to.port === from.port);
  return from.protocol === "http:" && to.protocol === "https:" && isSamePlace;
}

/** What to do about a redirect that was not followed; undefined for a response that is none. Shows no query. */
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

/** The API URL whose route `path` is at `url`, or undefined. */
export function apiUrlAt(url: URL, path: string): string | undefined {
  const route = (path.split("?")[0] ?? "").replace(/\/$/, "");
  const pathname = url.pathname.replace(/\/$/, "");
  return pathname.endsWith(route) ? url.origin + pathname.slice(0, pathname.length - route.length) : undefined;
}

function targetOf({ status, headers: { location }, url }: HttpResponse): URL | undefined {
  if (status < 300 || status > 399 || !location || !URL.canParse(location, url.href)) return undefined;
  return new URL(location, url);
}
