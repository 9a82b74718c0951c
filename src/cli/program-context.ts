// The context of every command: the settings, and output without secrets.
import { createLogging, type LogFormat, type Logging } from "../logger.ts";
import { headerSecrets } from "../settings/connection.ts";
import { loadSettings, type SettingsInput } from "../settings/load.ts";
import { proxySecrets, urlSecrets } from "../settings/proxy.ts";
import type { Settings } from "../settings/settings.ts";
import { SettingsError } from "../settings/settings-error.ts";

/** The loaded settings, and output without their secrets. */
export interface ProgramContext {
  env: Readonly<Record<string, string | undefined>>;
  settings: Settings;
  logging: Logging;
  /** False if the user wants no colours. Whether there is a terminal is another question. */
  wantsColours: boolean;
  /** Loads the settings and secret files again, and hides new secrets. */
  reload: () => Settings;
  /** Handles an uncaught error. Without it, the program exits. */
  onUncaught: ((error: unknown) => void) | undefined;
}

/** How a command prints. */
export interface OutputOptions {
  logFormat?: LogFormat | undefined;
  noColor?: boolean;
}

/** Returns the input for loading settings. Throws SettingsError if the working directory has been removed. */
export function settingsInput({ profile }: { profile?: string | undefined }): SettingsInput {
  return { profileArgument: profile, env: process.env, cwd: workingDirectory() };
}

/** Returns the working directory. Throws SettingsError if it has been removed. */
function workingDirectory(): string {
  try {
    return process.cwd();
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    throw new SettingsError(
      `The working directory cannot be used (${code}); it was probably removed. Change to another one and start again.`,
      { cause: error },
    );
  }
}

/**
 * Loads the settings, opens the output and runs `command` with both. With `quiet` there is no log. Throws
 * SettingsError. If `command` throws, throws an Error with the same message without secrets.
 */
export async function withProgram(
  options: OutputOptions & { profile?: string | undefined; quiet?: boolean },
  command: (program: ProgramContext) => Promise<void>,
): Promise<void> {
  const input = settingsInput(options);
  const { env } = input;
  const settings = loadSettings(input);
  const logging = openLogging(settings, env, options);
  if (options.quiet) logging.logger.level = "silent";
  for (const warning of settings.warnings) logging.logger.warn(warning);
  const reload = (): Settings => {
    const again = loadSettings(input);
    logging.hide(secretsOf(again, env));
    return again;
  };
  const colours = wantsColours(options.noColor, env);
  const program: ProgramContext = { env, settings, logging, wantsColours: colours, reload, onUncaught: undefined };
  // An uncaught error is a bug, so its stack is logged. Node.js would print it with secrets.
  const onCrash = (error: unknown): void => {
    if (program.onUncaught) {
      program.onUncaught(error);
      return;
    }
    logging.logger.fatal({ err: error }, "Unexpected error; please report it");
    process.exit(1);
  };
  process.on("uncaughtException", onCrash);
  try {
    await command(program);
  } catch (error) {
    logging.logger.debug({ err: error }, "the command failed");
    const messages = error instanceof AggregateError ? error.errors.map(messageOf) : [messageOf(error)];
    throw new Error(logging.redact(messages.join("\n")));
  } finally {
    process.off("uncaughtException", onCrash);
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Returns false if the user wants no colours: `--no-color`, or NO_COLOR with any text. See https://no-color.org. */
function wantsColours(noColor: boolean | undefined, env: ProgramContext["env"]): boolean {
  return noColor !== true && !env.NO_COLOR;
}

function openLogging(
  settings: Settings,
  env: ProgramContext["env"],
  { logFormat: format, noColor }: OutputOptions,
): Logging {
  const { values } = settings;
  const terminal = process.stderr.isTTY === true;
  return createLogging({
    format: format ?? (terminal ? "text" : "json"),
    level: values.PREFECT_WORKER_DEBUG_MODE ? "DEBUG" : values.PREFECT_LOGGING_LEVEL,
    colours: terminal && values.PREFECT_LOGGING_COLORS && wantsColours(noColor, env),
    isTerminal: terminal,
    secrets: secretsOf(settings, env),
    out: process.stdout,
    err: process.stderr,
  });
}

/** Returns all texts that must not appear in any output: the credentials, also in the form in which they are sent. */
function secretsOf({ values }: Settings, env: ProgramContext["env"]): string[] {
  const key = values.PREFECT_API_KEY ?? "";
  const authString = values.PREFECT_API_AUTH_STRING ?? "";
  const password = authString.slice(authString.indexOf(":") + 1);
  return [
    key,
    authString,
    Buffer.from(authString).toString("base64"),
    password,
    ...headerSecrets(values.PREFECT_CLIENT_CUSTOM_HEADERS),
    ...urlSecrets(values.PREFECT_API_URL ?? ""),
    ...proxySecrets(env),
  ];
}
