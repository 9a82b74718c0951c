// What every command starts from: the settings, the output, and the API client made of them.
import { readFileSync } from "node:fs";
import { ApiClient } from "../api/client.ts";
import { createLogging, type LogFormat, type Logging } from "../logger.ts";
import { type Connection, resolveConnection } from "../settings/connection.ts";
import { loadSettings, type Settings } from "../settings/load.ts";
import { SettingsError } from "../settings/settings-error.ts";

/** Loaded settings, and output that hides the secrets among them. */
export interface ProgramContext {
  env: Readonly<Record<string, string | undefined>>;
  settings: Settings;
  logging: Logging;
}

/**
 * Loads the settings, opens the output, and runs `command` with both. Throws SettingsError, and what `command` throws
 * with every secret taken out of its message.
 */
export async function withProgram(
  options: { profile?: string | undefined; logFormat?: LogFormat | undefined },
  command: (program: ProgramContext) => Promise<void>,
): Promise<void> {
  const env = process.env;
  const settings = loadSettings({ profileArgument: options.profile, env, cwd: process.cwd() });
  const logging = openLogging(settings, options.logFormat);
  for (const warning of settings.warnings) logging.logger.warn(warning);
  try {
    await command({ env, settings, logging });
  } catch (error) {
    logging.logger.debug({ err: error }, "the command failed");
    const messages = error instanceof AggregateError ? error.errors.map(messageOf) : [messageOf(error)];
    throw new Error(logging.redact(messages.join("\n")));
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function openLogging(settings: Settings, format: LogFormat | undefined): Logging {
  const { values } = settings;
  const terminal = process.stderr.isTTY === true;
  return createLogging({
    format: format ?? (terminal ? "text" : "json"),
    level: values.PREFECT_WORKER_DEBUG_MODE ? "DEBUG" : values.PREFECT_LOGGING_LEVEL,
    colours: terminal && values.PREFECT_LOGGING_COLORS,
    secrets: secretsOf(settings),
    out: process.stdout,
    err: process.stderr,
  });
}

/** The API client that the settings describe, and how it authenticates. Throws SettingsError. */
export function openApi({ settings, logging }: ProgramContext): { api: ApiClient; connection: Connection } {
  const { values } = settings;
  const connection = resolveConnection(settings);
  const api = new ApiClient({
    address: connection,
    customHeaders: values.PREFECT_CLIENT_CUSTOM_HEADERS,
    csrfEnabled: values.PREFECT_CLIENT_CSRF_SUPPORT_ENABLED,
    requestTimeoutMs: values.PREFECT_API_REQUEST_TIMEOUT * 1000,
    maxRetries: values.PREFECT_CLIENT_MAX_RETRIES,
    jitter: values.PREFECT_CLIENT_RETRY_JITTER_FACTOR,
    retryExtraCodes: new Set(values.PREFECT_CLIENT_RETRY_EXTRA_CODES),
    tls: { ca: readCertificates(settings), rejectUnauthorized: !values.PREFECT_API_TLS_INSECURE_SKIP_VERIFY },
    log: logging.logger,
    random: Math.random,
  });
  return { api, connection };
}

function readCertificates({ values }: Settings): string | undefined {
  const file = values.PREFECT_API_SSL_CERT_FILE;
  if (!file || values.PREFECT_API_TLS_INSECURE_SKIP_VERIFY) return undefined;
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    const reason = (error as NodeJS.ErrnoException).code ?? String(error);
    throw new SettingsError(`PREFECT_API_SSL_CERT_FILE: cannot read ${file} (${reason})`, {
      key: "PREFECT_API_SSL_CERT_FILE",
    });
  }
}

/** Every text that must not appear in any output: keys, and what is sent of them. */
function secretsOf({ values }: Settings): string[] {
  const authString = values.PREFECT_API_AUTH_STRING ?? "";
  const password = authString.slice(authString.indexOf(":") + 1);
  return [
    values.PREFECT_API_KEY ?? "",
    authString,
    Buffer.from(authString).toString("base64"),
    // A password of a letter or two would blot out half of every message.
    password.length > 3 ? password : "",
    ...Object.values(values.PREFECT_CLIENT_CUSTOM_HEADERS),
  ];
}
