// Where a redirected request goes, and what it takes along. Pure.
import type { HttpRequest, HttpResponse } from "./http-message.ts";

/** Follows as browsers do: 301 to 303 turn into GET, another origin does not get the credentials. */
export function redirected(request: HttpRequest, response: HttpResponse): Partial<HttpRequest> | undefined {
  const { status } = response;
  const { location } = response.headers;
  if (status < 300 || status > 399 || !location || !URL.canParse(location, request.url.href)) return undefined;
  const url = new URL(location, request.url);
  const headers: Record<string, string> = {};
  for (const [name, value] of Object.entries(request.headers)) {
    const sensitive = /^(authorization|cookie|prefect-csrf-.*)$/i.test(name);
    if (url.origin === request.url.origin || !sensitive) headers[name] = value;
  }
  if (status <= 303 && request.method !== "GET") return { url, method: "GET", headers, body: undefined };
  return { url, headers };
}
