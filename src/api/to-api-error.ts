// The error for a response outside 2xx. It holds the server's explanation, the kind of credentials sent, and the likely
// cause.
import http from "node:http";
import { type Authorization, findAuthorization } from "../settings/connection.ts";
import { causeOfRefusal, type Refusal } from "./causes.ts";
import { ApiError } from "./errors.ts";
import type { HttpResponse } from "./http-message.ts";
import { apiUrlAt, redirectAdvice } from "./redirect.ts";
import { customAuthorization } from "./request-headers.ts";

/** The refused request, and the possible origins of its credentials. */
export interface RefusedRequest {
  method: string;
  path: string;
  apiUrl: string;
  isCloud: boolean;
  authorization: Pick<Authorization, "kind" | "origin" | "header">;
  customHeaders: Readonly<Record<string, string>>;
}

/** Returns the error for `response`. Its message and its advice are one line each and hold no secret. */
export function toApiError(request: RefusedRequest, response: HttpResponse): ApiError {
  const { method, path, apiUrl, isCloud } = request;
  const { status, headers, url } = response;
  const serverDetail = parseServerDetail(response);
  const isPage = (headers["content-type"] ?? "").includes("html");
  const detail = serverDetail ?? (isPage ? "(a web page, not the Prefect API)" : (http.STATUS_CODES[status] ?? ""));
  const sent = describeSent(request, response);
  const cause =
    redirectAdvice(method, path, response) ??
    causeOfRefusal({
      status,
      detail: serverDetail,
      isPage,
      isCloud,
      server: headers.server?.toString(),
      body: response.body,
      apiPath: new URL(apiUrl).pathname,
      scheme: sent.scheme,
    });
  if (status !== 401 && status !== 403) return new ApiError(method, path, status, detail, cause);
  if (sent.scheme === "none" && url.origin !== new URL(apiUrl).origin) {
    const target = apiUrlAt(url, path) ?? "the API's own address";
    const advice = `The request was redirected to ${url.origin}, where credentials are not sent. Set PREFECT_API_URL=${target}.`;
    return new ApiError(method, path, status, detail, advice);
  }
  const lookUp = "Run `lictor config view` to see where it comes from.";
  return new ApiError(
    method,
    path,
    status,
    detail,
    [`${sent.text} to ${apiUrl}.`, cause, lookUp].filter(Boolean).join(" "),
    serverDetail !== undefined,
  );
}

/** Returns which credentials the request really carried, and from which setting. */
function describeSent(
  { authorization, customHeaders }: RefusedRequest,
  response: HttpResponse,
): { scheme: Refusal["scheme"]; text: string } {
  const sent = findAuthorization(response.sent);
  if (sent === undefined) return { scheme: "none", text: "No credentials were sent" };
  if (sent === customAuthorization(customHeaders)) {
    const instead = authorization.kind === "none" ? "" : `, instead of ${authorization.origin},`;
    return { scheme: "custom", text: `Sent the header Authorization of PREFECT_CLIENT_CUSTOM_HEADERS${instead}` };
  }
  const scheme = /^bearer /i.test(sent) ? "bearer" : "basic";
  const origin = sent === authorization.header ? authorization.origin : "credentials that have been replaced since";
  return { scheme, text: `Sent ${scheme === "bearer" ? "Bearer" : "Basic"} with ${origin}` };
}

/** Returns the server's explanation on one line, or undefined if the body is not an error of the Prefect API. */
function parseServerDetail(response: HttpResponse): string | undefined {
  try {
    const body = JSON.parse(response.body) as Record<string, unknown> | null;
    const texts = [body?.detail ?? body?.exception_message, body?.exception_detail]
      .filter((part) => part !== undefined && part !== null)
      .map((part) => (typeof part === "string" ? part : (describeRefusedFields(part) ?? JSON.stringify(part))));
    return texts.length > 0 ? texts.join(" ").replace(/\s+/g, " ").slice(0, 500) : undefined;
  } catch {
    return undefined;
  }
}

/** A field that the server refused. Source: pydantic, as FastAPI sends it. */
interface RefusedField {
  readonly type: string;
  readonly loc: readonly (string | number)[];
  readonly msg: string;
}

/**
 * Returns the fields that the server refused, and why, or undefined for something else. If a value may have several forms, each
 * form refuses it. Only one of them says what is wrong with the value itself.
 */
function describeRefusedFields(part: unknown): string | undefined {
  if (!Array.isArray(part) || part.length === 0) return undefined;
  const fields = part as readonly Partial<RefusedField>[];
  if (!fields.every(({ loc, msg }) => Array.isArray(loc) && typeof msg === "string")) return undefined;
  const values = fields.filter(({ type }) => type === "value_error");
  return (values.length > 0 ? values : fields)
    .map(
      ({ loc = [], msg }) => `${loc.filter((each) => each !== "body" && !/[()]/.test(String(each))).join(".")}: ${msg}`,
    )
    .join("; ");
}
