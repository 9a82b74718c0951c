// The error for a response outside 2xx: the server's own words, what was sent as credentials, and the likely cause.
import http from "node:http";
import type { Authorization } from "../settings/connection.ts";
import { causeOfRefusal } from "./causes.ts";
import { ApiError } from "./errors.ts";
import type { HttpResponse } from "./http-message.ts";

/** Where the request went and what it carried. */
export interface RefusedRequest {
  method: string;
  path: string;
  apiUrl: string;
  isCloud: boolean;
  authorization: Pick<Authorization, "kind" | "origin">;
}

/** Makes the error; its message and its advice are one line each and hold no secret. */
export function refusal(
  { method, path, apiUrl, isCloud, authorization }: RefusedRequest,
  response: HttpResponse,
): ApiError {
  const { status, headers } = response;
  const words = serverWords(response);
  const isPage = (headers["content-type"] ?? "").includes("html");
  const { kind: scheme, origin } = authorization;
  const cause = causeOfRefusal({ status, words, isPage, server: headers.server?.toString(), isCloud, scheme });
  const detail = words ?? (isPage ? "(a web page, not the Prefect API)" : (http.STATUS_CODES[status] ?? ""));
  if (status !== 401 && status !== 403) return new ApiError(method, path, status, detail, cause);
  const sent =
    scheme === "none" ? "No credentials were sent" : `Sent ${scheme === "bearer" ? "Bearer" : "Basic"} with ${origin}`;
  const lookUp = "Run `lictor config view` to see where it comes from.";
  return new ApiError(method, path, status, detail, [`${sent} to ${apiUrl}.`, cause, lookUp].filter(Boolean).join(" "));
}

/** The server's own explanation on one line, `detail` or `exception_message`; undefined where the body is none of its. */
function serverWords(response: HttpResponse): string | undefined {
  try {
    const body = JSON.parse(response.body) as Record<string, unknown> | null;
    const words = [body?.detail ?? body?.exception_message, body?.exception_detail]
      .filter((part) => part !== undefined && part !== null)
      .map((part) => (typeof part === "string" ? part : JSON.stringify(part)));
    return words.length > 0 ? words.join(" ").replace(/\s+/g, " ").slice(0, 500) : undefined;
  } catch {
    return undefined;
  }
}
