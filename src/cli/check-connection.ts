// Checks whether the server responds and accepts the credentials.
import type { Api } from "../api/api.ts";
import { ApiError } from "../api/errors.ts";
import type { Json } from "../api/wire.ts";
import { pythonRepr } from "../python-text.ts";
import { isKeyAlone, resolveConnection } from "../settings/connection.ts";
import { openApi, openCloud } from "./open-api.ts";
import type { ProgramContext } from "./program-context.ts";

/** The time limit for the response. */
const timeoutMs = 3_000;

/**
 * Sends one GET request and returns the parsed response. Throws an Error with a short reason and the original error as
 * cause.
 */
export async function getFromServer(api: Api, path: string): Promise<Json> {
  try {
    return await api.request("GET", path, { signal: AbortSignal.timeout(timeoutMs) });
  } catch (error) {
    const timedOut = error instanceof Error && error.name === "TimeoutError";
    throw new Error(timedOut ? `no answer within ${timeoutMs / 1000} s` : (error as Error).message, { cause: error });
  }
}

/**
 * Connects to the API of the profile. Returns the message of `prefect profile use`. Throws an Error if the connection
 * fails.
 */
export async function checkConnection(program: ProgramContext): Promise<string> {
  const { settings } = program;
  const using = `using profile ${pythonRepr(settings.profile.name)}`;
  if (!settings.values.PREFECT_API_URL && !isKeyAlone(settings)) {
    if (!settings.values.PREFECT_SERVER_EPHEMERAL_ENABLED)
      throw new Error(`Prefect server URL not configured ${using}.`);
    return `No Prefect server specified ${using}: Prefect would start one of its own, lictor needs PREFECT_API_URL.`;
  }
  const isCloud = isKeyAlone(settings) || resolveConnection(settings).isCloud;
  const where = isCloud ? "Prefect Cloud" : "Prefect server";
  using opened = isCloud ? openCloud(program) : await openApi(program);
  try {
    await getFromServer(opened.api, isCloud ? "/me/workspaces" : "/health");
  } catch (error) {
    const { cause, message } = error as Error;
    const isRefused = isCloud && cause instanceof ApiError && [401, 403].includes(cause.status);
    throw new Error(`Error ${isRefused ? "authenticating with" : "connecting to"} ${where} ${using}: ${message}`);
  }
  return `Connected to ${where} ${using}`;
}
