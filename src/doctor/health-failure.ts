// Explains a refused `GET /health`, which something other than a healthy Prefect API has answered.
import { once } from "node:events";
import type { ApiError } from "../api/errors.ts";
import type { HttpResponse } from "../api/http-message.ts";
import { LinkedController } from "../async/linked-controller.ts";
import { sleep } from "../async/sleep.ts";
import { type Finding, fail } from "./finding.ts";

/** The time limit for a TLS handshake. A port that speaks TLS needs much less. */
const handshakeMs = 2_000;

/**
 * Returns the finding for a refused `GET /health` of a self-hosted server: which server answered, its explanation, and
 * what to do. `error` is the error of the API client for `response`. `requestedUrl` is the URL before redirects.
 */
export async function describeRefusal(
  response: HttpResponse,
  error: ApiError,
  requestedUrl: URL,
  signal: AbortSignal,
): Promise<Finding> {
  const { status, headers } = response;
  const server = headers.server?.toString().slice(0, 40);
  const title = pageTitle(response);
  const explanation = title === undefined ? error.detail : `a web page, not the Prefect API: "${title}"`;
  const message = `GET ${error.path}: ${status} ${title === undefined ? explanation : `(${explanation})`}`;
  if (status === 400 && (await speaksTls(requestedUrl, signal)))
    return fail("health", message, tlsAdvice(requestedUrl));
  const isOtherServer = status === 404 && requestedUrl.pathname.endsWith("/api/health");
  if (isOtherServer) return fail("health", message, prefixAdvice(server, requestedUrl));
  return fail("health", message, error.advice ?? `These are the words of ${server ?? "what answers there"}.`);
}

/** Returns the advice for an http:// URL whose port speaks TLS. Returns undefined if the port does not. */
export async function adviseTls(requestedUrl: URL, signal: AbortSignal): Promise<string | undefined> {
  return (await speaksTls(requestedUrl, signal)) ? tlsAdvice(requestedUrl) : undefined;
}

function tlsAdvice(requestedUrl: URL): string {
  return `This port speaks TLS (HTTPS), and PREFECT_API_URL begins with http://. Set PREFECT_API_URL=${withTls(requestedUrl)}`;
}

function withTls(requestedUrl: URL): string {
  const url = new URL(requestedUrl);
  url.protocol = "https:";
  return `${url.origin}${url.pathname.replace(/\/health$/, "")}`;
}

function prefixAdvice(server: string | undefined, requestedUrl: URL): string {
  const who = server ?? "Something";
  return `${who} answers at ${requestedUrl.host} and has no Prefect API at this path. Where a proxy serves it below a prefix, PREFECT_API_URL needs that prefix: ${requestedUrl.origin}/PREFIX/api.`;
}

/** Returns the title of a web page on one line, or undefined for other responses. */
function pageTitle({ headers, body }: HttpResponse): string | undefined {
  if (!String(headers["content-type"] ?? "").includes("html")) return undefined;
  const title = /<title>([^<]*)<\/title>/i.exec(body)?.[1]?.replace(/\s+/g, " ").trim();
  return title ? title.slice(0, 100) : undefined;
}

/** Returns true if a TLS handshake succeeds at the port of an http: URL. Sends nothing after it. */
async function speaksTls(requestedUrl: URL, signal: AbortSignal): Promise<boolean> {
  if (requestedUrl.protocol !== "http:") return false;
  using over = new LinkedController(signal);
  const timer = sleep(handshakeMs, over.signal).then(() => over.abort());
  // The certificate does not matter here.
  // A static import would read all root certificates into the memory of every program, because it copies the exports.
  const { connect } = await import("node:tls");
  const socket = connect({
    host: requestedUrl.hostname.replace(/^\[|\]$/g, ""),
    port: Number(requestedUrl.port || 80),
    rejectUnauthorized: false,
  });
  try {
    await once(socket, "secureConnect", { signal: over.signal });
    return true;
  } catch {
    return false;
  } finally {
    socket.on("error", () => undefined);
    socket.destroy();
    over.abort();
    await timer;
  }
}
