// Works out from the settings where the API is and which credentials it gets.
import querystring from "node:querystring";
import { redact } from "./catalogue.ts";
import { isCloud } from "./derived.ts";
import type { Settings } from "./settings.ts";
import { SettingsError } from "./settings-error.ts";

/** The credential that requests and sockets carry. */
export interface Authorization {
  readonly kind: "bearer" | "basic" | "none";
  /** value of the Authorization header */
  readonly header: string | null;
  /** for authentication within a WebSocket: the API key or `user:password` */
  readonly token: string | null;
  /** for messages: `PREFECT_API_KEY from the environment` */
  readonly origin: string;
}

/** An Authorization header among the custom headers. It is sent in place of every other credential. */
export interface CustomAuthorization {
  /** the first word of the header, such as `Bearer` */
  readonly scheme: string;
  /** for messages: `PREFECT_CLIENT_CUSTOM_HEADERS from the environment` */
  readonly origin: string;
}

export interface Connection {
  /** without a slash at the end, without user and password */
  readonly apiUrl: string;
  readonly isCloud: boolean;
  readonly authorization: Authorization;
  /** what is sent once the server has refused `authorization`: Basic where both a key and an auth string are set */
  readonly fallback: Authorization | null;
  /** what requests and sockets carry in place of `authorization` and `fallback`, if anything */
  readonly customAuthorization: CustomAuthorization | null;
  /** whether a credential was read from a secret file */
  readonly isInFile: boolean;
}

const credentialNames = ["PREFECT_API_KEY", "PREFECT_API_AUTH_STRING"] as const;
type CredentialName = (typeof credentialNames)[number];

/**
 * Works out the connection; `workspaceUrl` stands in for PREFECT_API_URL. Throws SettingsError when there is no usable API
 * URL, or a credential or custom header that cannot be sent.
 */
export function resolveConnection(settings: Settings, workspaceUrl?: string): Connection {
  checkHeaders(settings);
  const key = credential(settings, "PREFECT_API_KEY");
  const url = workspaceUrl === undefined ? parseApiUrl(settings) : new URL(workspaceUrl);
  const userinfo = url.username === "" && url.password === "" ? null : userinfoOf(url);
  url.username = "";
  url.password = "";
  const apiUrl = url.href.replace(/\/+$/, "");
  const cloud = isCloud(apiUrl, settings.values.PREFECT_CLOUD_API_URL);
  const [authorization = none(cloud), fallback = null] = candidates(settings, { key, cloud, userinfo });
  const isInFile = credentialNames.some((name) => settings.origins.get(name)?.kind === "secret file");
  return {
    apiUrl,
    isCloud: cloud,
    authorization,
    fallback,
    customAuthorization: customAuthorization(settings),
    isInFile,
  };
}

/** Returns the value of the header `Authorization`, whatever the case of its name, or undefined. */
export function findAuthorization(headers: Readonly<Record<string, string>>): string | undefined {
  return Object.entries(headers).find(([name]) => name.toLowerCase() === "authorization")?.[1];
}

/** The Authorization header that PREFECT_CLIENT_CUSTOM_HEADERS has, null for none. */
export function customAuthorization({
  values,
  origins,
}: Pick<Settings, "values" | "origins">): CustomAuthorization | null {
  const value = findAuthorization(values.PREFECT_CLIENT_CUSTOM_HEADERS);
  if (value === undefined) return null;
  const name = "PREFECT_CLIENT_CUSTOM_HEADERS";
  // The header is a secret; only the name of a scheme may be shown.
  const [scheme] = /^(?=[a-z]+ \S)[a-z]+/i.exec(value.trim()) ?? ["unknown"];
  return { scheme, origin: `${name} ${origins.get(name)?.description ?? "by default"}` };
}

/** Says that credentials are set and not sent. */
export function customAuthorizationWarnings(settings: Pick<Settings, "values" | "origins">): string[] {
  const custom = customAuthorization(settings);
  const unused = credentialNames.filter((name) => (settings.values[name] ?? "") !== "");
  if (custom === null || unused.length === 0) return [];
  return [`The Authorization header of ${custom.origin} is sent in place of ${unused.join(" and ")}.`];
}

/** Returns true when there is a key and no API URL. The API is then Prefect Cloud, which knows the workspaces of the key. */
export function isKeyAlone(settings: Settings): boolean {
  return (settings.values.PREFECT_API_URL ?? "") === "" && credential(settings, "PREFECT_API_KEY") !== null;
}

function parseApiUrl({ values, origins, profile }: Settings): URL {
  const text = values.PREFECT_API_URL ?? "";
  if (text === "") throw new SettingsError(urlMissing(profile.name, profile.file), { key: "PREFECT_API_URL" });
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || !["http:", "https:"].includes(url.protocol) || url.search !== "" || url.hash !== "") {
    const origin = origins.get("PREFECT_API_URL");
    throw new SettingsError(
      `PREFECT_API_URL, ${origin?.description}: found ${redact("PREFECT_API_URL", JSON.stringify(text))}, ` +
        "expected an address like http://127.0.0.1:4200/api",
      { key: "PREFECT_API_URL", ...(origin && { origin }) },
    );
  }
  return url;
}

function urlMissing(profileName: string, file: string): string {
  return (
    "`PREFECT_API_URL` must be set to start a Worker. Set that environment variable, or PREFECT_API_KEY for Cloud, or run " +
    "`lictor config set PREFECT_API_URL=http://127.0.0.1:4200/api`, or choose a profile of " +
    `${file} that has it (active now: "${profileName}").`
  );
}

/** Returns the credentials that can be sent, best first. Prefect Cloud takes no passwords, so none is sent there. */
function candidates(
  settings: Settings,
  { key, cloud, userinfo }: { key: string | null; cloud: boolean; userinfo: string | null },
): Authorization[] {
  const bearer: Authorization[] =
    key === null
      ? []
      : [{ kind: "bearer", header: `Bearer ${key}`, token: key, origin: originOf(settings, "PREFECT_API_KEY") }];
  if (cloud) return bearer;
  const authString = credential(settings, "PREFECT_API_AUTH_STRING");
  if (authString !== null) return [...bearer, basic(authString, originOf(settings, "PREFECT_API_AUTH_STRING"))];
  if (userinfo === null) return bearer;
  return [...bearer, basic(userinfo, `user and password in ${originOf(settings, "PREFECT_API_URL")}`)];
}

function none(cloud: boolean): Authorization {
  const origin = cloud ? "no PREFECT_API_KEY" : "neither PREFECT_API_KEY nor PREFECT_API_AUTH_STRING";
  return { kind: "none", header: null, token: null, origin };
}

function basic(userAndPassword: string, origin: string): Authorization {
  const header = `Basic ${Buffer.from(userAndPassword, "utf8").toString("base64")}`;
  return { kind: "basic", header, token: userAndPassword, origin };
}

/** The credential, null when it is not set or empty. Throws SettingsError when no header can carry it. */
function credential({ values, origins }: Settings, name: CredentialName): string | null {
  const text = values[name] ?? "";
  if (text === "") return null;
  // The key is sent in a header as it is. The auth string is sent in base64 and may have other characters.
  const isUsable = name === "PREFECT_API_KEY" ? /^[\x20-\x7e]+$/.test(text) : !/\p{Cc}/u.test(text);
  if (!isUsable) {
    const origin = origins.get(name);
    throw new SettingsError(
      `${name}, ${origin?.description}: found characters that no header can carry, expected one line of text`,
      {
        key: name,
        ...(origin && { origin }),
      },
    );
  }
  return text;
}

/** Throws SettingsError for a custom header that cannot be sent. Its value is a secret and is not shown. */
function checkHeaders({ values, origins }: Settings): void {
  const key = "PREFECT_CLIENT_CUSTOM_HEADERS";
  for (const [name, value] of Object.entries(values.PREFECT_CLIENT_CUSTOM_HEADERS)) {
    const problem = !/^[\w!#$%&'*+.^`|~-]+$/.test(name)
      ? "is not the name of a header"
      : /[^\t\x20-\x7e\x80-\xff]/.test(value)
        ? "has a value with characters that no header can carry"
        : undefined;
    if (problem === undefined) continue;
    const origin = origins.get(key);
    throw new SettingsError(`${key}, ${origin?.description}: ${JSON.stringify(name)} ${problem}`, {
      key,
      ...(origin && { origin }),
    });
  }
}

function userinfoOf({ username, password }: URL): string {
  // decodeURIComponent throws for a `%` that begins no escape; this function keeps it.
  return `${querystring.unescape(username)}:${querystring.unescape(password)}`;
}

function originOf({ origins }: Settings, name: CredentialName | "PREFECT_API_URL"): string {
  return `${name} ${origins.get(name)?.description ?? "by default"}`;
}

/** Every text of custom headers that must not be shown: the values, and the credentials within an Authorization header. */
export function headerSecrets(headers: Readonly<Record<string, string>>): string[] {
  return Object.values(headers).flatMap((value) => {
    const [, scheme = "", credentials = ""] = /^\s*([a-z]+)\s+(\S+)\s*$/i.exec(value) ?? [];
    if (credentials === "") return [value];
    if (scheme.toLowerCase() !== "basic") return [value, credentials];
    const userAndPassword = Buffer.from(credentials, "base64").toString("utf8");
    return [value, credentials, userAndPassword, userAndPassword.slice(userAndPassword.indexOf(":") + 1)];
  });
}
