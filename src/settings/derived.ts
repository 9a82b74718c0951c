// Values that follow from other values, such as paths below the home directory and URLs of the UI.
import { DEFINITIONS, type SettingValues } from "./definitions.ts";
import { expandHome, expandUser, findUserHome, tryExpandUser } from "./paths.ts";
import type { Settings } from "./settings.ts";
import { SettingsError } from "./settings-error.ts";

/** Returns whether the API belongs to Prefect Cloud. Source: prefect settings/models/root.py connected_to_cloud */
export function isCloud(apiUrl: string | null, cloudApiUrl: string): boolean {
  return cloudApiUrl !== "" && (apiUrl?.startsWith(cloudApiUrl) ?? false);
}

/** Returns `values` with derived defaults, and with the log levels that debug mode forces. Throws SettingsError. */
export function withDerivedValues(
  values: SettingValues,
  env: Readonly<Record<string, string | undefined>>,
): SettingValues {
  // A worker needs no home directory of its own, so only one that somebody names has to be found.
  const isNamed = values.PREFECT_HOME !== DEFINITIONS.PREFECT_HOME.default;
  const home = (isNamed ? expandUser : tryExpandUser)(values.PREFECT_HOME, env);
  const debug = values.PREFECT_DEBUG_MODE || values.PREFECT_TESTING_TEST_MODE;
  const cloudUiUrl = values.PREFECT_CLOUD_UI_URL ?? uiUrlOfCloud(values.PREFECT_CLOUD_API_URL);
  const maxLogSize = values.PREFECT_LOGGING_TO_API_MAX_LOG_SIZE;
  if (values.PREFECT_LOGGING_TO_API_BATCH_SIZE < maxLogSize) {
    throw new SettingsError(
      `PREFECT_LOGGING_TO_API_BATCH_SIZE is ${values.PREFECT_LOGGING_TO_API_BATCH_SIZE}: expected at least ` +
        `PREFECT_LOGGING_TO_API_MAX_LOG_SIZE, which is ${maxLogSize}`,
      { key: "PREFECT_LOGGING_TO_API_BATCH_SIZE" },
    );
  }
  return {
    ...values,
    PREFECT_HOME: home,
    PREFECT_PROFILES_PATH: expandHome(values.PREFECT_PROFILES_PATH, home),
    PREFECT_LOGGING_CONFIG_PATH: expandHome(values.PREFECT_LOGGING_CONFIG_PATH, home),
    PREFECT_API_SSL_CERT_FILE: values.PREFECT_API_SSL_CERT_FILE ?? env.SSL_CERT_FILE ?? null,
    PREFECT_CLOUD_UI_URL: cloudUiUrl,
    PREFECT_UI_URL: values.PREFECT_UI_URL ?? uiUrlOf(values, cloudUiUrl),
    PREFECT_LOGGING_LEVEL: debug ? "DEBUG" : values.PREFECT_LOGGING_LEVEL,
    PREFECT_INTERNAL_LOGGING_LEVEL: debug ? "DEBUG" : values.PREFECT_INTERNAL_LOGGING_LEVEL,
  };
}

function uiUrlOfCloud(apiUrl: string): string {
  const url = /^https:\/\/api[.\w]*\.prefect\.[^.]+\//.test(apiUrl)
    ? apiUrl.replace("https://api", "https://app")
    : apiUrl;
  return url.replace(/\/api$/, "");
}

/** Returns the address of the UI for an API URL. With a key alone, only Prefect Cloud knows that URL. */
export function uiUrlFor({ values, origins }: Settings, apiUrl: string): string | null {
  if (origins.has("PREFECT_UI_URL")) return values.PREFECT_UI_URL;
  return uiUrlOf({ ...values, PREFECT_API_URL: apiUrl }, values.PREFECT_CLOUD_UI_URL ?? "");
}

function uiUrlOf({ PREFECT_API_URL, PREFECT_CLOUD_API_URL }: SettingValues, cloudUiUrl: string): string | null {
  if (!PREFECT_API_URL) return null;
  const url = isCloud(PREFECT_API_URL, PREFECT_CLOUD_API_URL)
    ? PREFECT_API_URL.replace(PREFECT_CLOUD_API_URL, () => cloudUiUrl)
    : PREFECT_API_URL;
  return url
    .replace(/\/api$/, "")
    .replaceAll("/api/", "/")
    .replaceAll("/accounts/", "/account/")
    .replaceAll("/workspaces/", "/workspace/");
}

/** Returns one line for each common mistake in the address of Prefect Cloud. */
export function apiUrlWarnings({ PREFECT_API_URL, PREFECT_SILENCE_API_URL_MISCONFIGURATION }: SettingValues): string[] {
  if (!PREFECT_API_URL || PREFECT_SILENCE_API_URL_MISCONFIGURATION) return [];
  const path = URL.canParse(PREFECT_API_URL) ? new URL(PREFECT_API_URL).pathname : "/";
  const slips: [boolean, string][] = [
    [PREFECT_API_URL.includes("app.prefect.cloud"), "app.prefect.cloud is the UI; the API is at api.prefect.cloud"],
    [PREFECT_API_URL.includes("account/"), "the path of the API has `/accounts/`, not `/account/`"],
    [PREFECT_API_URL.includes("workspace/"), "the path of the API has `/workspaces/`, not `/workspace/`"],
    [
      PREFECT_API_URL.includes("api.prefect.cloud") && path !== "/" && !path.startsWith("/api"),
      "the path of the API begins with `/api`",
    ],
  ];
  return slips.flatMap(([isSlip, text]) => (isSlip ? [`PREFECT_API_URL looks wrong: ${text}.`] : []));
}

/** Returns a warning for a user without a home directory, without which Prefect does not start. */
export function homeWarnings(env: Readonly<Record<string, string | undefined>>): string[] {
  if (findUserHome(env) !== undefined) return [];
  return [
    `HOME is not set and this user has no entry in the passwd database. Prefect does not start without a home directory, ` +
      `so flow runs get HOME=${SUBSTITUTE_HOME}.`,
  ];
}

/** Returns the variable that flow runs need when the worker has no home directory. */
export function homeVariable(env: Readonly<Record<string, string | undefined>>): { HOME?: string } {
  return findUserHome(env) === undefined ? { HOME: SUBSTITUTE_HOME } : {};
}

/** Container runtimes set the same for such a user. */
const SUBSTITUTE_HOME = "/";

/** Returns a warning when the certificate of an https server is not checked. */
export function tlsWarnings({ PREFECT_API_URL, PREFECT_API_TLS_INSECURE_SKIP_VERIFY }: SettingValues): string[] {
  if (!PREFECT_API_TLS_INSECURE_SKIP_VERIFY || PREFECT_API_URL?.startsWith("http:")) return [];
  return [
    "PREFECT_API_TLS_INSECURE_SKIP_VERIFY is on: certificates are not checked, so anybody between here and the server can " +
      "read the credentials. To trust a private certificate safely, set PREFECT_API_SSL_CERT_FILE.",
  ];
}
