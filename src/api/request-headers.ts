// The headers of a request to the Prefect API. Pure.
import { findAuthorization } from "../settings/connection.ts";
import { apiVersion, userAgent } from "../version.ts";
import { utf8Header } from "./header-text.ts";

/** The values of the headers. `authorization` is null if no credentials are sent. */
export interface HeaderSources {
  authorization: string | null;
  workerName: string | null;
  workerId: string | null;
  customHeaders: Readonly<Record<string, string>>;
}

/** Custom headers of these names are ignored. Source: prefect client/base.py. */
const protectedHeaders: ReadonlySet<string> = new Set(["user-agent", "prefect-csrf-token", "prefect-csrf-client"]);

/**
 * Returns the headers by name. A custom header replaces one of the same name. Source: prefect client/attribution.py.
 */
export function requestHeaders({ authorization, workerName, workerId, customHeaders }: HeaderSources): {
  [name: string]: string;
} {
  const headers: Record<string, string> = {
    Accept: "application/json",
    // Decompression would cost more than it saves, because responses are small.
    "Accept-Encoding": "identity",
    "User-Agent": userAgent,
    "X-PREFECT-API-VERSION": apiVersion,
  };
  if (authorization) headers.Authorization = authorization;
  if (workerName) headers["X-Prefect-Worker-Name"] = utf8Header(workerName);
  if (workerId) headers["X-Prefect-Worker-Id"] = workerId;
  for (const [name, value] of Object.entries(customHeaders)) {
    const lower = name.toLowerCase();
    if (protectedHeaders.has(lower)) continue;
    for (const existing of Object.keys(headers)) if (existing.toLowerCase() === lower) delete headers[existing];
    headers[name] = utf8Header(value);
  }
  return headers;
}

/** Returns the value of the custom header `Authorization`, which replaces the configured credentials, or undefined. */
export function customAuthorization(customHeaders: Readonly<Record<string, string>>): string | undefined {
  const found = findAuthorization(customHeaders);
  return found === undefined ? undefined : utf8Header(found);
}
