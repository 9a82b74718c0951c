// Checks of the settings and their origins: profile, credentials and URLs. A secret is shown only by its length and its
// last letters.
import { existsSync } from "node:fs";
import { redact } from "../settings/catalogue.ts";
import { findAuthorization } from "../settings/connection.ts";
import type { SettingName } from "../settings/definitions.ts";
import { apiUrlWarnings } from "../settings/derived.ts";
import { profileWarnings } from "../settings/load.ts";
import type { Settings } from "../settings/settings.ts";
import { correctedUrl, findUrlMistakes } from "./api-url.ts";
import type { ApiAccess, Check, Examination } from "./check.ts";
import { type Finding, fail, pass, warn } from "./finding.ts";

/** The checks in the order of their output. */
export const settingsChecks: readonly Check[] = [
  { name: "profile", run: checkProfile },
  { name: "settings", run: checkSettings },
  { name: "API URL", run: checkUrl },
  { name: "credentials", run: checkCredentials },
];

/** Reports the active profile, and what selected it. */
function checkProfile({ settings }: Examination): Finding[] {
  const { name, chosenBy, file } = settings.profile;
  const choosers = {
    "command line": "chosen by the command line",
    environment: "chosen by PREFECT_PROFILE",
    "profiles file": "chosen by `active` in the file",
    default: "the default",
  };
  const message = `"${name}", ${choosers[chosenBy]}; ${file} ${existsSync(file) ? "is read" : "does not exist"}`;
  const [warning] = profileWarnings(settings.profile);
  return [warning ? warn("profile", message, warning) : pass("profile", message)];
}

/** Shown even if they are not set. */
const alwaysShown: readonly SettingName[] = ["PREFECT_API_URL", "PREFECT_API_KEY", "PREFECT_API_AUTH_STRING"];
const shownIfSet: readonly SettingName[] = [
  "PREFECT_API_KEY_FILE",
  "PREFECT_API_AUTH_STRING_FILE",
  "PREFECT_CLOUD_API_URL",
  "PREFECT_UI_URL",
  "PREFECT_CLIENT_CUSTOM_HEADERS",
  "PREFECT_API_SSL_CERT_FILE",
  "PREFECT_API_TLS_INSECURE_SKIP_VERIFY",
];

/**
 * Reports each credential and URL setting, its origin, and the origins that it overrides. Adds the warnings from
 * loading.
 */
function checkSettings({ settings }: Examination): Finding[] {
  const { values, origins, hidden } = settings;
  const rows = [...alwaysShown, ...shownIfSet.filter((name) => origins.has(name))].map((name) => {
    const others = (hidden.get(name) ?? []).map(({ description }) => description);
    const hides = others.length > 0 ? `; hides the one ${others.join(", and the one ")}` : "";
    const message = `${shown(settings, name)}${hides}`;
    const advice = valueProblems[name]?.(settings);
    return advice ? warn(name, message, advice) : pass(name, message);
  });
  const reportedElsewhere = [...profileWarnings(settings.profile), ...apiUrlWarnings(values)];
  const warnings = settings.warnings.filter((warning) => !reportedElsewhere.includes(warning));
  return [...rows, ...warnings.map((warning) => warn("settings", warning, "Correct it where it is written."))];
}

/** Returns the advice for a value that is wrong in itself, by setting. */
const valueProblems: Partial<Record<SettingName, (settings: Settings) => string | false>> = {
  PREFECT_API_KEY: ({ values }) => isQuoted(values.PREFECT_API_KEY) && quotedAdvice,
  PREFECT_API_AUTH_STRING: ({ values: { PREFECT_API_AUTH_STRING: text } }) => {
    if (isQuoted(text)) return quotedAdvice;
    return Boolean(text) && !text?.includes(":") && "It has no colon: the server expects user:password.";
  },
  PREFECT_CLIENT_CUSTOM_HEADERS: ({ values }) =>
    findAuthorization(values.PREFECT_CLIENT_CUSTOM_HEADERS) !== undefined &&
    "Its Authorization is sent instead of the key or auth string: leave it out unless that is meant.",
};

const quotedAdvice = "It begins and ends with a quote, which is sent too: remove both quotes.";

/** Returns true if quotes of a shell or an env file have become part of the value. */
function isQuoted(text: string | null | undefined): boolean {
  return /^\s*(["']).*\1\s*$/s.test(text ?? "");
}

function shown({ values, origins }: Settings, name: SettingName): string {
  const origin = origins.get(name);
  if (origin === undefined) return "not set";
  const text = String(values[name] ?? "").trim();
  const views: Partial<Record<SettingName, () => string>> = {
    PREFECT_API_KEY: () => abbreviated(text),
    PREFECT_API_AUTH_STRING: () => `user ${/^([^:]*):/.exec(text)?.[1] ?? "unknown"}`,
    PREFECT_CLIENT_CUSTOM_HEADERS: () => Object.keys(values.PREFECT_CLIENT_CUSTOM_HEADERS).join(", "),
  };
  return `${text === "" ? "empty" : (views[name]?.() ?? redact(name, text))}, ${origin.description}`;
}

/**
 * Returns the length and the last letters of a key. Omits the letters of a short key, because they would reveal too
 * much.
 */
function abbreviated(key: string): string {
  return `${key.length} characters${key.length < 16 ? "" : `, the last ${key.slice(-4)}`}`;
}

/** Reports mistakes in PREFECT_API_URL, with the URL that was probably meant. */
function checkUrl({ settings: { values } }: Examination): Finding[] {
  const text = values.PREFECT_API_URL?.trim() ?? "";
  if (text === "" || !URL.canParse(text)) return [];
  const found = values.PREFECT_SILENCE_API_URL_MISCONFIGURATION
    ? []
    : findUrlMistakes(text, values.PREFECT_CLOUD_API_URL);
  const mistakes = [...apiUrlWarnings(values), ...found.map(({ what }) => what)];
  if (mistakes.length === 0) return [pass("API URL", "looks right")];
  const advice = `Try PREFECT_API_URL=${correctedUrl(text, values.PREFECT_CLOUD_API_URL)}`;
  return [(found.some(({ exposes }) => exposes) ? fail : warn)("API URL", mistakes.join(" "), advice)];
}

/** Reports which credentials are sent, and why. Throws the error of `access`. */
async function checkCredentials({ settings, access }: Examination): Promise<Finding[]> {
  const { connection } = await access;
  const { kind, origin } = connection.authorization;
  const custom = connection.customAuthorization;
  if (custom !== null) {
    const message = `the header Authorization (${custom.scheme}) of ${custom.origin}`;
    if (kind === "none") return [pass("credentials", message)];
    return [warn("credentials", `${message}, instead of ${origin}`, "Unset the one that is not meant.")];
  }
  if (kind === "none") {
    return connection.isCloud
      ? [warn("credentials", "none for Prefect Cloud", "Set PREFECT_API_KEY, or run `lictor cloud login`.")]
      : [pass("credentials", `none (${origin}): right for a server without authentication`)];
  }
  const message = `${kind === "bearer" ? "Bearer" : "Basic"} with ${origin}${reasonFor(connection, settings)}`;
  return [pass("credentials", message)];
}

function reasonFor({ authorization, fallback, isCloud }: ApiAccess["connection"], { values }: Settings): string {
  if (fallback !== null) return `: a key comes first, and Basic with ${fallback.origin} if the server refuses it`;
  if (isCloud && values.PREFECT_API_AUTH_STRING)
    return ": Prefect Cloud takes keys only and never gets the auth string";
  if (authorization.kind === "bearer" && !isCloud) return ", although this is not Prefect Cloud";
  return "";
}
