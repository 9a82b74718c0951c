// Chooses the proxy for a URL from HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY, in upper or lower case.
import { BlockList, isIP } from "node:net";
import querystring from "node:querystring";
import { SettingsError } from "./settings-error.ts";

type Env = Readonly<Record<string, string | undefined>>;

/** A proxy as a variable names it. */
export interface ProxyChoice {
  /** `http://host:port` or `https://host:port`, without user and password */
  readonly url: string;
  /** value of the Proxy-Authorization header */
  readonly authorization: string | null;
  /** the variable that names it, as it is written */
  readonly variable: string;
}

/** Returns the proxy for `url`, undefined for none. Throws SettingsError when the variable that applies cannot be used. */
export function chooseProxy(url: URL, env: Env): ProxyChoice | undefined {
  const found = findVariable(url.protocol === "https:" ? "https_proxy" : "http_proxy", env);
  const [variable, text] = found ?? findVariable("all_proxy", env) ?? [];
  if (variable === undefined || text === undefined || isExcepted(url, env)) return undefined;
  return parseProxy(variable, text);
}

/**
 * Returns the proxy variables that Python would misread, as Python needs them: without white space, and NO_PROXY separated
 * by commas. Variables that Python reads correctly are left out.
 */
export function tidyProxyVariables(env: Env): Record<string, string> {
  const names = ["http_proxy", "https_proxy", "all_proxy", "no_proxy"];
  const tidied: Record<string, string> = {};
  for (const name of [...names, ...names.map((lower) => lower.toUpperCase())]) {
    const text = env[name];
    const tidy = /^no/i.test(name)
      ? text
          ?.split(/[,\s]+/)
          .filter(Boolean)
          .join(",")
      : text?.trim();
    if (tidy !== undefined && tidy !== text) tidied[name] = tidy;
  }
  return tidied;
}

/** Returns every text of the proxy variables that must not be shown. */
export function proxySecrets(env: Env): string[] {
  const names = ["http_proxy", "https_proxy", "all_proxy"];
  return [...names, ...names.map((name) => name.toUpperCase())].flatMap((name) => urlSecrets(env[name] ?? ""));
}

/** Returns the secrets of a URL with `user:password@`, valid or not: the password, and both in base64. */
export function urlSecrets(url: string): string[] {
  const userinfo = /^(?:[^:/]+:\/\/)?(.*)@/.exec(url.trim())?.[1] ?? "";
  const colon = userinfo.indexOf(":");
  const password = colon < 0 ? "" : userinfo.slice(colon + 1);
  if (userinfo === "") return [];
  return [password, querystring.unescape(password), base64(querystring.unescape(userinfo))].filter(Boolean);
}

/** The name in lower case comes first; empty means no proxy. Source: Python urllib.request.getproxies_environment. */
function findVariable(name: string, env: Env): [variable: string, text: string] | undefined {
  const variable = env[name] === undefined ? name.toUpperCase() : name;
  const text = env[variable]?.trim();
  return text ? [variable, text] : undefined;
}

function parseProxy(variable: string, text: string): ProxyChoice {
  const address = text.includes("://") ? text : `http://${text}`;
  const url = URL.canParse(address) ? new URL(address) : undefined;
  if (url?.protocol.startsWith("socks")) {
    throw new SettingsError(
      `${variable}: SOCKS proxies are not supported, expected an HTTP proxy like http://proxy.example.com:3128`,
    );
  }
  if (url === undefined || !["http:", "https:"].includes(url.protocol)) {
    // The text is not shown, because a password may be anywhere in it.
    throw new SettingsError(`${variable}: not the address of a proxy, expected one like http://proxy.example.com:3128`);
  }
  const userinfo = querystring.unescape(`${url.username}:${url.password}`);
  return { url: url.origin, authorization: userinfo === ":" ? null : `Basic ${base64(userinfo)}`, variable };
}

function base64(text: string): string {
  return Buffer.from(text, "utf8").toString("base64");
}

function isExcepted(url: URL, env: Env): boolean {
  const host = url.hostname.replace(/^\[|\]$/g, "").toLowerCase();
  const port = url.port || (url.protocol === "https:" ? "443" : "80");
  const entries =
    findVariable("no_proxy", env)?.[1]
      .toLowerCase()
      .split(/[,\s]+/) ?? [];
  return entries.some((entry) => {
    if (entry === "*") return true;
    // A text with colons and without brackets is an IPv6 address.
    const [, bracketed, name, entryPort] = /^(?:\[(.+)\]|([^:]+))(?::(\d+))?$/.exec(entry) ?? [];
    if (entryPort !== undefined && entryPort !== port) return false;
    return covers(bracketed ?? name ?? entry, host);
  });
}

/** A name covers itself and its subdomains, with or without `.` or `*.` in front. An address may be a CIDR range. */
function covers(entry: string, host: string): boolean {
  const [address = "", bits] = entry.split("/");
  const version = isIP(address);
  if (version === 0) {
    const name = entry.replace(/^\*?\./, "");
    return name !== "" && (host === name || (isIP(host) === 0 && host.endsWith(`.${name}`)));
  }
  const width = version === 4 ? 32 : 128;
  const prefix = bits === undefined ? width : Number(bits);
  if (isIP(host) === 0 || !Number.isInteger(prefix) || prefix < 0 || prefix > width) return false;
  const range = new BlockList();
  range.addSubnet(address, prefix, version === 4 ? "ipv4" : "ipv6");
  return range.check(host, isIP(host) === 4 ? "ipv4" : "ipv6");
}
