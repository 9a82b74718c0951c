// The requests that an API server gets, and its answers in its own words.
import type { IncomingMessage, ServerResponse } from "node:http";
import type { JsonObject } from "../../src/api/wire.ts";

/** A request that the server received. `path` has no query. */
export interface KubernetesRequest {
  method: string;
  path: string;
  query: URLSearchParams;
  headers: IncomingMessage["headers"];
  body: string;
  /** As RBAC names it, for example `list`. */
  verb: string;
  /** The plural with its subresource, for example `pods/log`. */
  resource: string;
  namespace: string;
  name: string;
}

/** Answers a request instead of the server. */
export type Answer = (response: ServerResponse, request: KubernetesRequest) => void;

/** Answers as an API server explains a failure. */
export function status(code: number, body: JsonObject = {}, headers: Record<string, string> = {}): Answer {
  return (response) => {
    const whole = { kind: "Status", apiVersion: "v1", status: "Failure", code, ...body };
    response.writeHead(code, { "content-type": "application/json", ...headers }).end(JSON.stringify(whole));
  };
}

/** Answers with JSON. */
export function json(body: unknown): Answer {
  return (response) => {
    response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(body));
  };
}

/** Answers as RBAC does. */
export function forbidden({ verb, resource, namespace, path }: KubernetesRequest): Answer {
  const group = path.startsWith("/apis/batch/") ? "batch" : "";
  const message = `${resource} is forbidden: User "system:serviceaccount:default:worker" cannot ${verb} resource "${resource}" in API group "${group}" in the namespace "${namespace}"`;
  return status(403, { message, reason: "Forbidden", details: { kind: resource } });
}

/** Answers that there is no such object. */
export function missing(resource: string, name: string): Answer {
  return status(404, {
    message: `${resource} "${name}" not found`,
    reason: "NotFound",
    details: { name, kind: resource },
  });
}

const verbs: Readonly<Record<string, string>> = { POST: "create", PUT: "update", PATCH: "patch", DELETE: "delete" };

/** Returns the request without its body. */
export function parseRequest({ method = "", url = "", headers }: IncomingMessage): Omit<KubernetesRequest, "body"> {
  const { pathname: path, searchParams: query } = new URL(url, "http://fake");
  const [, namespace = "", plural = "", name = "", subresource = ""] =
    /^\/apis?\/(?:[^/]+\/)?v1(?:\/namespaces\/([^/]+)(?=\/))?(?:\/([^/]+))?(?:\/([^/]+))?(?:\/([^/]+))?$/.exec(path) ??
    [];
  const reading = name !== "" ? "get" : query.get("watch") === "true" ? "watch" : "list";
  const resource = subresource ? `${plural}/${subresource}` : plural;
  return { method, path, query, headers, namespace, resource, name, verb: verbs[method] ?? reading };
}
