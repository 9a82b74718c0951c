// Opens the API from the settings: the client, the credentials, and how to reload credentials after a refusal.
import { ApiClient } from "../api/client.ts";
import { readWorkspaces, type Workspace, workspaceApiUrl, workspaceHandle } from "../api/cloud.ts";
import { type CredentialChoice, Credentials } from "../api/credentials.ts";
import { readTrust } from "../settings/certificates.ts";
import { type Connection, isKeyAlone, resolveConnection } from "../settings/connection.ts";
import { homeVariable } from "../settings/derived.ts";
import { chooseProxy, tidyProxyVariables } from "../settings/proxy.ts";
import type { Settings } from "../settings/settings.ts";
import { SettingsError } from "../settings/settings-error.ts";
import type { SocketAddress } from "../sockets/connect.ts";
import { KeepAlive } from "../sockets/keep-alive.ts";
import type { ProgramContext } from "./program-context.ts";

/**
 * An open API: the client, its connection and credentials. `exportedSettings` returns the environment variables for
 * flow runs.
 */
export interface OpenApi extends Disposable {
  api: ApiClient;
  connection: Connection;
  credentials: Credentials;
  exportedSettings: () => Readonly<Record<string, string>>;
}

/**
 * Opens the API. With a key but no API URL, or with `workspace` (`account/workspace`), first looks up the workspace in
 * Prefect Cloud. Throws SettingsError and the errors of `Api.request`.
 */
export async function openApi(program: ProgramContext, workspace?: string, signal?: AbortSignal): Promise<OpenApi> {
  const { env, settings, logging } = program;
  const needsLookup = workspace !== undefined || isKeyAlone(settings);
  const workspaceUrl = needsLookup ? await findWorkspaceUrl(program, workspace, signal) : undefined;
  const connection = resolveConnection(settings, workspaceUrl);
  const credentials = new Credentials(connection, credentialReader(program, connection, workspaceUrl), (message) =>
    logging.logger.warn(message),
  );
  const api = openClient(program, connection, credentials);
  return {
    api,
    connection,
    credentials,
    exportedSettings: () => ({
      ...homeVariable(env),
      ...tidyProxyVariables(env),
      ...exportedFor(settings, connection, credentials),
    }),
    [Symbol.dispose]: () => api[Symbol.dispose](),
  };
}

/**
 * Returns a client for this API URL and these credentials. Its other options are from the settings. Throws
 * SettingsError.
 */
export function openClient(
  { env, settings, logging }: ProgramContext,
  address: { apiUrl: string; isCloud: boolean },
  credentials: Credentials,
): ApiClient {
  const { values } = settings;
  const proxyFor = (url: URL) => chooseProxy(url, env);
  // Reports an unusable proxy variable now, and not with the first request.
  proxyFor(new URL(address.apiUrl));
  return new ApiClient({
    address,
    credentials,
    customHeaders: values.PREFECT_CLIENT_CUSTOM_HEADERS,
    csrfEnabled: values.PREFECT_CLIENT_CSRF_SUPPORT_ENABLED,
    requestTimeoutMs: values.PREFECT_API_REQUEST_TIMEOUT * 1000,
    maxRetries: values.PREFECT_CLIENT_MAX_RETRIES,
    jitter: values.PREFECT_CLIENT_RETRY_JITTER_FACTOR,
    retryExtraCodes: new Set(values.PREFECT_CLIENT_RETRY_EXTRA_CODES),
    tls: readTrust(settings),
    proxyFor,
    log: logging.logger,
    random: Math.random,
  });
}

/** Returns what all sockets to that API share. */
export function toSocketAddress(
  { api, connection, credentials }: OpenApi,
  { settings }: ProgramContext,
): SocketAddress {
  return {
    apiUrl: connection.apiUrl,
    credentials,
    customHeaders: settings.values.PREFECT_CLIENT_CUSTOM_HEADERS,
    agents: api.agents,
    keepAlive: new KeepAlive(),
  };
}

/**
 * Returns a function that loads the settings again and returns their credentials. It ignores credentials for another
 * API. It returns undefined while a file cannot be read, perhaps because it is being written.
 */
function credentialReader(
  { reload, logging }: ProgramContext,
  connection: Connection,
  workspaceUrl: string | undefined,
): () => CredentialChoice | undefined {
  let reportedMessage: string | undefined;
  return () => {
    try {
      const reloaded = resolveConnection(reload(), workspaceUrl);
      reportedMessage = undefined;
      return reloaded.apiUrl === connection.apiUrl ? reloaded : connection;
    } catch (error) {
      if (!(error instanceof SettingsError)) throw error;
      if (error.message !== reportedMessage)
        logging.logger.warn(`The credentials could not be read again: ${error.message}`);
      reportedMessage = error.message;
      return undefined;
    }
  };
}

/**
 * Returns the exported settings with the URL of a workspace that was looked up, and with the current credentials, which
 * may have been rotated. An engine prefers an auth string to a key, so with a key it gets an empty auth string. Metrics
 * are off, because the worker already uses the port, and an engine would crash. Source: prefect
 * client/orchestration/__init__.py PrefectClient.
 */
function exportedFor(
  settings: Settings,
  { apiUrl }: Connection,
  { current }: Credentials,
): Readonly<Record<string, string>> {
  const { kind, token } = current;
  const hasAuthString = (settings.values.PREFECT_API_AUTH_STRING ?? "") !== "";
  const credentialSettings: Record<string, string> = {};
  if (kind === "bearer")
    Object.assign(credentialSettings, { PREFECT_API_KEY: token, ...(hasAuthString && { [authString]: "" }) });
  if (kind === "basic" && hasAuthString) Object.assign(credentialSettings, { [authString]: token });
  const isLookedUp = settings.exported.PREFECT_API_URL !== apiUrl;
  const url = isLookedUp && kind === "bearer" ? { PREFECT_API_URL: apiUrl } : {};
  const metrics = settings.values.PREFECT_CLIENT_METRICS_ENABLED ? { PREFECT_CLIENT_METRICS_ENABLED: "false" } : {};
  return { ...settings.exported, ...url, ...credentialSettings, ...metrics };
}

const authString = "PREFECT_API_AUTH_STRING";

/** Returns the API URL of the workspace with this handle, or of the only workspace of the key. Throws SettingsError. */
async function findWorkspaceUrl(
  program: ProgramContext,
  handle: string | undefined,
  signal: AbortSignal | undefined,
): Promise<string> {
  using cloud = openCloud(program);
  if (cloud.authorization.kind !== "bearer") {
    throw new SettingsError(
      "--workspace needs a key of Prefect Cloud: set PREFECT_API_KEY, or run `lictor cloud login`.",
    );
  }
  const workspaces = await readWorkspaces(cloud.api, signal ? { signal } : {});
  const workspace = chooseWorkspace(workspaces, handle, cloud.authorization.origin);
  program.logging.logger.info(`Using workspace '${workspaceHandle(workspace)}' of Prefect Cloud.`);
  return workspaceApiUrl(cloud.apiUrl, workspace);
}

/** Prefect Cloud itself and not one of its workspaces, with the key from the settings. */
export interface Cloud extends Disposable {
  api: ApiClient;
  /** PREFECT_CLOUD_API_URL, without a slash at the end. */
  apiUrl: string;
  authorization: Connection["authorization"];
}

/** Opens the routes of Prefect Cloud above workspaces. Throws SettingsError. */
export function openCloud(program: ProgramContext): Cloud {
  const apiUrl = program.settings.values.PREFECT_CLOUD_API_URL;
  const connection = resolveConnection(program.settings, apiUrl);
  const api = openClient(program, connection, new Credentials(connection));
  const { authorization } = connection;
  return { api, apiUrl, authorization, [Symbol.dispose]: () => api[Symbol.dispose]() };
}

/** Returns the workspace with that handle, or the only workspace. Throws a SettingsError that says how to choose. */
function chooseWorkspace(workspaces: readonly Workspace[], handle: string | undefined, key: string): Workspace {
  const handles = workspaces.map(workspaceHandle).sort();
  const list = handles.map((handle) => `'${handle}'`).join(", ");
  if (workspaces.length === 0) throw new SettingsError(`The key (${key}) can enter no workspace of Prefect Cloud.`);
  const [first] = workspaces.filter((workspace) => handle === undefined || workspaceHandle(workspace) === handle);
  if (first === undefined)
    throw new SettingsError(`Workspace '${handle}' is none of those the key can enter: ${list}.`);
  if (handle === undefined && workspaces.length > 1) {
    throw new SettingsError(
      `The key (${key}) can enter several workspaces: ${list}. Choose one by --workspace, by PREFECT_API_URL, or by \`lictor cloud login -w\`.`,
    );
  }
  return first;
}
