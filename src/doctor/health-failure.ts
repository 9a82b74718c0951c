// What it means when something other than a healthy Prefect API answers `GET /health`.
import { once } from "node:events";
import { connect } from "node:tls";
import type { ApiError } from "../api/errors.ts";
import type { HttpResponse } from "../api/http-message.ts";
import { sleep } from "../async/sleep.ts";
import { type Finding, fail } from "./finding.ts";

/** A handshake with a port that speaks TLS is over long before. */
const handshakeMs = 2_000;

/**
 * Returns the finding for a refused `GET /health` of a self-hosted server: who answered, its words, and what to do.
 * `asked` is the URL of the request, `error` the refusal as the API client sees it.
 */
export async function describeRefusal(
  response: HttpResponse,
  error: ApiError,
  asked: URL,
  signal: AbortSignal,
): Promise<Finding> {
  const { status, headers } = response;
  const server = headers.server?.toString().slice(0, 40);
  const title = pageTitle(response);
  const words = title === undefined ? error.detail : `a web page, not the Prefect API: "${title}"`;
  const message = `GET ${error.path}: ${status} ${title === undefined ? words : `(${words})`}`;
  if (status === 400 && (await speaksTls(asked, signal))) return fail("health", message, tlsAdvice(asked));
  const isOfNobody = status === 404 && asked.pathname.endsWith("/api/health");
  if (isOfNobody) return fail("health", message, prefixAdvice(server, asked));
  return fail("health", message, error.advice ?? `These are the words of ${server ?? "what answers there"}.`);
}

/** What to do where the API cannot be reached by http:// because the port speaks TLS; undefined where it does not. */
export async function adviseTls(asked: URL, signal: AbortSignal): Promise<string | undefined> {
  return (await speaksTls(asked, signal)) ? tlsAdvice(asked) : undefined;
}

function tlsAdvice(asked: URL): string {
  return `This port speaks TLS (HTTPS), and PREFECT_API_URL begins with http://. Set PREFECT_API_URL=${withTls(asked)}`;
}

function withTls(asked: URL): string {
  const url = new URL(asked);
  url.protocol = "https:";
  return `${url.origin}${url.pathname.replace(/\/health$/, "")}`;
}

function prefixAdvice(server: string | undefined, asked: URL): string {
  const who = server ?? "Something";
  return `${who} answers at ${asked.host} and has no Prefect API at this path. Where a proxy serves it below a prefix, PREFECT_API_URL needs that prefix: ${asked.origin}/PREFIX/api.`;
}

/** The title of a web page on one line. */
function pageTitle({ headers, body }: HttpResponse): string | undefined {
  if (!String(headers["content-type"] ?? "").includes("html")) return undefined;
  const title = /<title>([^<]*)<\/title>/i.exec(body)?.[1]?.replace(/\s+/g, " ").trim();
  return title ? title.slice(0, 100) : undefined;
}

/** Whether a TLS handshake succeeds where the URL says http. Sends nothing after it. */
async function speaksTls(asked: URL, signal: AbortSignal): Promise<boolean> {
  if (asked.protocol !== "http:") return false;
  const over = new AbortController();
  const patience = sleep(handshakeMs, AbortSignal.any([signal, over.signal])).then(() => over.abort());
  // Whose certificate it is does not matter here.
  const socket = connect({
    host: asked.hostname.replace(/^\[|\]$/g, ""),
    port: Number(asked.port || 80),
    rejectUnauthorized: false,
  });
  try {
    await once(socket, "secureConnect", { signal: AbortSignal.any([signal, over.signal]) });
    return true;
  } catch {
    return false;
  } finally {
    socket.on("error", () => undefined);
    socket.destroy();
    over.abort();
    await patience;
  }
}
