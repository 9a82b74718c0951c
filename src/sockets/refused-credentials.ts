// Finds out why a self-hosted server responds with 401 although an auth string was sent. Over HTTP, a wrong auth string
// and a proxy that drops the header look the same. In a WebSocket the auth string is a message, which no proxy drops.
import { Credentials } from "../api/credentials.ts";
import { ApiError } from "../api/errors.ts";
import { customAuthorization } from "../api/request-headers.ts";
import { LinkedController } from "../async/linked-controller.ts";
import type { Authorization } from "../settings/connection.ts";
import { connectSocket, type SocketAddress } from "./connect.ts";
import { closeCode } from "./socket.ts";
import { SocketError } from "./socket-error.ts";

/** The time limit for two connections. It is short, because the result is only advice. */
const timeoutMs = 5_000;
/** No server has this auth string, because it has no colon. */
const wrongToken = "lictor asks whether any auth string is accepted";

/** How a server reacts to an auth string in a WebSocket. `login`: a proxy asks for its own login. */
type Verdict = "accepted" | "refused" | "login" | "unknown";

/**
 * Returns `error` with the cause added, if a 401 to an auth string caused it and a WebSocket shows the
 * cause. Otherwise, or if a custom header replaced the auth string, returns `error` itself. Takes at most 5 s. An abort of `signal` ends it sooner. Never throws.
 */
export async function explainUnauthorized(
  error: unknown,
  address: SocketAddress,
  signal: AbortSignal,
): Promise<unknown> {
  const sent = address.credentials.current;
  if (customAuthorization(address.customHeaders) !== undefined) return error;
  const refusal = error instanceof Error && error.cause instanceof ApiError ? error.cause : error;
  if (!(refusal instanceof ApiError && refusal.status === 401 && sent.kind === "basic")) return error;
  using end = new LinkedController(signal, AbortSignal.timeout(timeoutMs));
  const cause = await findCause(address, sent, refusal.isFromApi, end.signal);
  if (cause === undefined) return error;
  const advice = `Sent Basic with ${sent.origin} to ${address.apiUrl}. ${cause}`;
  const explained = new ApiError(refusal.method, refusal.path, refusal.status, refusal.detail, advice);
  if (refusal === error) return explained;
  const message = (error as Error).message.replace(refusal.message, () => explained.message);
  return Object.assign(error as Error, { message });
}

async function findCause(
  address: SocketAddress,
  sent: Authorization,
  isFromApi: boolean,
  signal: AbortSignal,
): Promise<string | undefined> {
  const verdict = await tryToken(address, sent, signal);
  if (verdict === "refused") {
    return "It is not the server's PREFECT_SERVER_API_AUTH_STRING: the server refuses it inside a WebSocket too, where no proxy can drop it. Run `lictor config view` to see where it comes from.";
  }
  if (verdict === "login") {
    return "A proxy on the way asks for a login of its own: the upgrade to a WebSocket is refused with 401 too, which a Prefect server never does. What the proxy wants can go into PREFECT_CLIENT_CUSTOM_HEADERS.";
  }
  if (verdict === "unknown") return undefined;
  const isAnyAccepted = (await tryToken(address, { ...sent, token: wrongToken }, signal)) === "accepted";
  // Servers before 3.6.13 ask for the auth string over HTTP only, so the socket shows nothing.
  if (isAnyAccepted && isFromApi) return undefined;
  return isAnyAccepted
    ? "The Prefect server itself asks for no auth string: inside a WebSocket it accepts any. So a proxy on the way asks for a login of its own."
    : "The auth string is right: the server accepts it inside a WebSocket. So a proxy on the way drops or changes the header `Authorization` of requests: let it pass the header on.";
}

async function tryToken(address: SocketAddress, authorization: Authorization, signal: AbortSignal): Promise<Verdict> {
  const credentials = new Credentials({ authorization, fallback: null });
  try {
    using _socket = await connectSocket({ ...address, credentials }, "/events/out", { inBand: true, signal });
    return "accepted";
  } catch (error) {
    if (!(error instanceof SocketError)) return "unknown";
    const { code, status, isJson } = error.details;
    if (code === closeCode.policyViolation) return "refused";
    // JSON is the server's response to a plain request, so a proxy has also dropped `Upgrade`.
    return status === 401 && !isJson ? "login" : "unknown";
  }
}
