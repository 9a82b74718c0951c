// An HTTP request and its response.
import type { IncomingHttpHeaders } from "node:http";
import type { Agents, Lane } from "./agents.ts";

/** The size limit of response headers. Proxies that add cookies and policies exceed Node's default of 16 KiB. */
export const maxHeaderBytes = 64 * 1024;

/** A complete response. Header names are lower case. */
export interface HttpResponse {
  status: number;
  headers: IncomingHttpHeaders;
  body: string;
  /** The URL of the response, after redirects. */
  url: URL;
  /** The headers of the request, after redirects. */
  sent: Readonly<Record<string, string>>;
}

/**
 * A request to send. `timeoutMs` limits the time from the call to the first byte of the response. That includes the
 * wait for a free connection. After the first byte, it limits each pause within the response.
 */
export interface HttpRequest {
  url: URL;
  method: string;
  headers: Readonly<Record<string, string>>;
  body?: string | undefined;
  timeoutMs: number;
  /** When the time limit begins, on the monotonic clock. By default it begins when the request is sent. */
  startedAt?: number;
  agents: Agents;
  lane: Lane;
  signal?: AbortSignal | undefined;
  /** Sends at most once, even if a kept-alive connection turns out to be closed. */
  isOnce?: boolean;
  maxBodyBytes?: number | undefined;
}

/** Returns whether the body is JSON by its type. If not, a proxy or a firewall responded instead of the API. */
export function isJson({ headers }: Pick<HttpResponse, "headers">): boolean {
  return /json/i.test(headers["content-type"] ?? "");
}
