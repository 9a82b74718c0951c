// A request and its response, as HTTP has them.
import type { IncomingHttpHeaders } from "node:http";
import type { Agents, Lane } from "./agents.ts";

/** The largest headers of a response, in bytes. Proxies that add cookies and policies exceed Node's default of 16 KiB. */
export const maxHeaderBytes = 64 * 1024;

/** A whole response; header names are lower case. */
export interface HttpResponse {
  status: number;
  headers: IncomingHttpHeaders;
  body: string;
  /** Where it came from, after redirects. */
  url: URL;
  /** The headers of the request that it answers, after redirects. */
  sent: Readonly<Record<string, string>>;
}

/**
 * A request to send. `timeoutMs` bounds the time from the call to the first byte of the response: waiting for a free
 * connection, connecting and sending included. Then it bounds each silence within the response.
 */
export interface HttpRequest {
  url: URL;
  method: string;
  headers: Readonly<Record<string, string>>;
  body?: string | undefined;
  timeoutMs: number;
  agents: Agents;
  lane: Lane;
  signal?: AbortSignal | undefined;
  /** Is sent once at most, even if the connection turns out to have been closed. */
  isOnce?: boolean;
  maxBodyBytes?: number | undefined;
}
