// Checks of the API: response, kind of server, credentials, CSRF tokens and clock.
import type { ApiClient } from "../api/client.ts";
import { readWorkspaces, workspaceApiUrl, workspaceHandle } from "../api/cloud.ts";
import { ApiError, UnreachableError } from "../api/errors.ts";
import type { HttpResponse } from "../api/http-message.ts";
import { monotonicMs, wallClockMs } from "../async/clock.ts";
import { explainUnauthorized } from "../sockets/refused-credentials.ts";
import { prefectVersion } from "../version.ts";
import type { Check, Examination } from "./check.ts";
import { type Finding, fail, pass, warn } from "./finding.ts";
import { adviseTls, describeRefusal } from "./health-failure.ts";

/** The checks in the order of their output. */
export const apiChecks: readonly Check[] = [
  { name: "health", needs: "TLS", run: checkHealth },
  { name: "server", needs: "health", run: checkServer },
  { name: "authentication", needs: "health", run: checkAuthentication },
  { name: "CSRF", needs: "authentication", run: checkCsrf },
];

/**
 * A worker claims flow runs some seconds early, so a small skew does no harm. A `Date` header has no fractions of
 * seconds.
 */
const maxSkewMs = 5_000;

/** Checks whether the API responds. On Cloud, a refused key is also a response. */
async function checkHealth(examination: Examination): Promise<Finding[]> {
  const { access, signal } = examination;
  const { api, cloud } = await access;
  const [client, path] = cloud ? [cloud, "/me/workspaces"] : [api, "/health"];
  const requestedUrl = new URL(client.address.apiUrl + path);
  const startedAt = monotonicMs();
  const sentAt = wallClockMs();
  const response = await client.requestRaw("GET", path, { signal }).catch((error: unknown) => error);
  const elapsedMs = Math.round(monotonicMs() - startedAt);
  if (!isResponse(response)) return [await describeNoResponse(response, requestedUrl, examination)];
  const { status } = response;
  if (status > 299 && !(cloud && (status === 401 || status === 403))) {
    const error = client.toApiError("GET", path, response);
    if (cloud) throw error;
    return [await describeRefusal(response, error, requestedUrl, signal)];
  }
  const what = `GET ${path}: ${status} in ${elapsedMs} ms`;
  return [describeHealth(response, what, requestedUrl), ...describeClock(response, sentAt + elapsedMs / 2)];
}

function isResponse(value: unknown): value is HttpResponse {
  return typeof value === "object" && value !== null && "status" in value && "headers" in value;
}

/**
 * Returns the finding for an http: URL whose port speaks TLS, because many servers close a connection with plain HTTP
 * there. Otherwise throws `error`.
 */
async function describeNoResponse(error: unknown, requestedUrl: URL, { signal }: Examination): Promise<Finding> {
  const advice = error instanceof UnreachableError ? await adviseTls(requestedUrl, signal) : undefined;
  if (advice === undefined) throw error;
  return fail("health", (error as Error).message, advice);
}

function describeHealth({ body, headers, url }: HttpResponse, what: string, requestedUrl: URL): Finding {
  if (requestedUrl.pathname.endsWith("/health") && body.trim() !== "true") {
    return fail("health", `${what}, but with ${headers["content-type"] ?? "something"} instead of true`, notTheApi);
  }
  if (url.href === requestedUrl.href) return pass("health", what);
  const advice = "Set PREFECT_API_URL to where that leads: WebSockets follow no redirect.";
  return warn("health", `${what}, redirected to ${url.origin}${url.pathname}`, advice);
}

const notTheApi =
  "Something other than the Prefect API answers: check PREFECT_API_URL (a self-hosted one ends in /api) and any proxy.";

function describeClock({ headers }: HttpResponse, sentAt: number): Finding[] {
  const serverTime = Date.parse(headers.date ?? "");
  if (Number.isNaN(serverTime)) return [];
  const skewMs = serverTime - sentAt;
  const seconds = Math.round(Math.abs(skewMs) / 1000);
  if (Math.abs(skewMs) <= maxSkewMs) return [pass("clock", "agrees with the server's")];
  const message = `this machine's is ${seconds} s ${skewMs > 0 ? "behind" : "ahead of"} the server's`;
  return [warn("clock", message, "Let both synchronise (NTP): flow runs are claimed at the wrong time.")];
}

/** Finds out the kind of server and its version or workspace. The next check reports a refused key. */
async function checkServer({ access, signal }: Examination): Promise<Finding[]> {
  const { api, cloud } = await access;
  if (cloud) return [await describeWorkspace(cloud, api.address.apiUrl, signal)];
  const response = await api.requestRaw("GET", "/admin/version", { signal });
  const version = response.status === 200 ? /^"(\d+)\.[^"]*"$/.exec(response.body) : null;
  if (!version) return [pass("server", "self-hosted; it does not tell its version")];
  const message = `self-hosted, Prefect ${version[0].slice(1, -1)}`;
  if (version[1] === prefectVersion.split(".")[0]) return [pass("server", message)];
  return [fail("server", message, `lictor speaks as Prefect ${prefectVersion}: the major versions have to match.`)];
}

async function describeWorkspace(cloud: ApiClient, apiUrl: string, signal: AbortSignal): Promise<Finding> {
  try {
    const workspaces = await readWorkspaces(cloud, { signal });
    const own = workspaces.find((workspace) => workspaceApiUrl(cloud.address.apiUrl, workspace) === apiUrl);
    if (own) return pass("server", `Prefect Cloud, workspace ${workspaceHandle(own)}`);
    const handles = workspaces.map(workspaceHandle).sort().join(", ") || "none";
    return fail(
      "server",
      "Prefect Cloud; the key cannot enter the workspace of PREFECT_API_URL",
      `It can enter: ${handles}.`,
    );
  } catch (error) {
    if (error instanceof ApiError) return pass("server", "Prefect Cloud");
    throw error;
  }
}

/** Sends a request that needs credentials. It also needs a CSRF token, because it is a POST, but it changes nothing. */
async function checkAuthentication({ access, signal }: Examination): Promise<Finding[]> {
  const { api, connection, credentials, socketAddress } = await access;
  await api.request("POST", "/work_pools/filter", { body: { limit: 1 }, signal }).catch(async (error: unknown) => {
    throw connection.isCloud ? error : await explainUnauthorized(error, socketAddress, signal);
  });
  const { current } = credentials;
  const sent = current.kind === "none" ? "no credentials" : current.origin;
  const message = `POST /work_pools/filter: 200 with ${connection.customAuthorization?.origin ?? sent}`;
  if (current === connection.authorization) return [pass("authentication", message)];
  const refused = connection.authorization.origin;
  return [
    warn(
      "authentication",
      `${message}, after ${refused} was refused`,
      "Unset what is refused: each start tries it first.",
    ),
  ];
}

async function checkCsrf({ access, settings, signal }: Examination): Promise<Finding[]> {
  const { api } = await access;
  if (api.address.isCloud) return [pass("CSRF", "Prefect Cloud needs no tokens")];
  if (!settings.values.PREFECT_CLIENT_CSRF_SUPPORT_ENABLED) return [pass("CSRF", "switched off by the settings")];
  const path = "/csrf-token?client=lictor-doctor";
  const response = await api.requestRaw("GET", path, { signal });
  if (response.status === 200) return [pass("CSRF", "switched on; the write above was taken with a token")];
  if (response.status === 422 || response.status === 404) return [pass("CSRF", "switched off on the server")];
  throw api.toApiError("GET", path, response);
}
