import { describe, expect, test } from "vitest";
import { headerSecrets, isKeyAlone, resolveConnection } from "../../src/settings/connection.ts";
import { SettingsError } from "../../src/settings/settings-error.ts";
import { settingsDirectory } from "./settings-directory.ts";

const URL_OF_SERVER = "http://127.0.0.1:4200/api";
const URL_OF_CLOUD = "https://api.prefect.cloud/api/accounts/a/workspaces/w";

function resolve(env: Record<string, string>) {
  using directory = settingsDirectory();
  return resolveConnection(directory.load(env));
}

function basic(userAndPassword: string): string {
  return `Basic ${Buffer.from(userAndPassword).toString("base64")}`;
}

describe("the API URL", () => {
  test.each([
    ["is used as given", URL_OF_SERVER, URL_OF_SERVER, false],
    ["loses slashes at its end", `${URL_OF_SERVER}//`, URL_OF_SERVER, false],
    ["loses white space around it", ` ${URL_OF_SERVER}\n`, URL_OF_SERVER, false],
    ["loses user and password", "http://u:p@127.0.0.1:4200/api", URL_OF_SERVER, false],
    ["may have no path", "http://127.0.0.1:4200", "http://127.0.0.1:4200", false],
    ["of Prefect Cloud is recognised", `${URL_OF_CLOUD}/`, URL_OF_CLOUD, true],
    [
      "of Prefect Cloud is recognised behind user and password",
      URL_OF_CLOUD.replace("//", "//u:p@"),
      URL_OF_CLOUD,
      true,
    ],
  ])("%s", (_, given, apiUrl, isCloud) => {
    expect(resolve({ PREFECT_API_URL: given })).toMatchObject({ apiUrl, isCloud });
  });
});

describe("authorization", () => {
  const key = { PREFECT_API_KEY: "pnu_k" };
  const auth = { PREFECT_API_AUTH_STRING: "me:päss" };
  const none = { kind: "none", header: null, token: null };
  const bearer = {
    kind: "bearer",
    header: "Bearer pnu_k",
    token: "pnu_k",
    origin: "PREFECT_API_KEY from the environment",
  };
  const rows: [name: string, env: Record<string, string>, expected: object][] = [
    ["is none without key and auth string", {}, none],
    ["is the key", key, bearer],
    ["is the key without white space around it", { PREFECT_API_KEY: " pnu_k\n" }, bearer],
    ["is the auth string", auth, { kind: "basic", header: basic("me:päss"), token: "me:päss" }],
    ["is the key when both are set", { ...key, ...auth }, bearer],
    ["is the auth string when the key is empty", { PREFECT_API_KEY: "", ...auth }, { kind: "basic" }],
    [
      "is user and password of the URL",
      { PREFECT_API_URL: "http://u:p%40%ff@h/api" },
      { kind: "basic", token: "u:p@\ufffd" },
    ],
    ["prefers the auth string to the URL's", { PREFECT_API_URL: "http://u:p@h/api", ...auth }, { token: "me:päss" }],
    ["never gives the auth string to Prefect Cloud", { PREFECT_API_URL: URL_OF_CLOUD, ...auth }, none],
    ["is the key on Prefect Cloud", { PREFECT_API_URL: URL_OF_CLOUD, ...key, ...auth }, bearer],
  ];
  test.each(rows)("%s", (_, env, expected) => {
    expect(resolve({ PREFECT_API_URL: URL_OF_SERVER, ...env }).authorization).toMatchObject(expected);
  });

  test("names the profile the key is from", () => {
    using directory = settingsDirectory({
      "home/profiles.toml": "active = 'p'\n[profiles.p]\nPREFECT_API_KEY = 'k'\n",
    });
    const { authorization } = resolveConnection(directory.load({ PREFECT_API_URL: URL_OF_SERVER }));
    expect(authorization.origin).toBe(`PREFECT_API_KEY from profile "p" in ${directory.profilesFile}`);
  });
});

describe("what is gone on with after a refusal", () => {
  const key = { PREFECT_API_KEY: "pnu_k" };
  const auth = { PREFECT_API_AUTH_STRING: "me:pass" };
  test.each([
    [
      "is the auth string beside a key, on a self-hosted server",
      { ...key, ...auth },
      { kind: "basic", token: "me:pass" },
    ],
    ["is user and password of the URL beside a key", { PREFECT_API_URL: "http://u:p@h/api", ...key }, { token: "u:p" }],
    ["is nothing on Prefect Cloud", { PREFECT_API_URL: URL_OF_CLOUD, ...key, ...auth }, null],
    ["is nothing with a key alone", key, null],
    ["is nothing with an auth string alone", auth, null],
  ])("%s", (_, env, expected) => {
    const { fallback } = resolve({ PREFECT_API_URL: URL_OF_SERVER, ...env });
    if (expected === null) expect(fallback).toBeNull();
    else expect(fallback).toMatchObject(expected);
  });
});

describe("a key alone", () => {
  test.each([
    ["is a key without a URL", { PREFECT_API_KEY: "pnu_k" }, true],
    ["is a key with an empty URL", { PREFECT_API_KEY: "pnu_k", PREFECT_API_URL: "" }, true],
    ["is not a key with a URL", { PREFECT_API_KEY: "pnu_k", PREFECT_API_URL: URL_OF_SERVER }, false],
    ["is not an empty key", { PREFECT_API_KEY: "" }, false],
    ["is not an auth string", { PREFECT_API_AUTH_STRING: "me:pass" }, false],
  ])("%s", (_, env, expected) => {
    using directory = settingsDirectory();
    expect(isKeyAlone(directory.load(env))).toBe(expected);
  });
});

describe("a connection that cannot be made is a SettingsError of one line", () => {
  const rows: [name: string, env: Record<string, string>, message: RegExp][] = [
    ["no URL", {}, /^`PREFECT_API_URL` must be set to start a Worker\. .*lictor config set.*profile/],
    ["an empty URL", { PREFECT_API_URL: " " }, /^`PREFECT_API_URL` must be set to start a Worker\./],
    ["no scheme", { PREFECT_API_URL: "127.0.0.1:4200/api" }, /^PREFECT_API_URL, from the environment: found "127/],
    ["another scheme", { PREFECT_API_URL: "ws://h/api" }, /expected an address like http/],
    ["a query", { PREFECT_API_URL: "http://h/api?x=1" }, /expected an address like http/],
    ["a password in a bad URL is hidden", { PREFECT_API_URL: "ftp://u:secret@h" }, /found "ftp:\/\/\*{8}@h"/],
    [
      "a line end in the key",
      { PREFECT_API_URL: URL_OF_SERVER, PREFECT_API_KEY: "sec\nret" },
      /^PREFECT_API_KEY, from/,
    ],
    ["a key beyond ASCII", { PREFECT_API_URL: URL_OF_SERVER, PREFECT_API_KEY: "sécret" }, /no header can carry/],
    ...[
      ["a space in the name of a header", { "X A": "secret" }, /: "X A" is not the name of a header$/] as const,
      ["a header without a name", { "": "secret" }, /: "" is not the name of a header$/] as const,
      ["a line end in a header", { "X-A": "sec\nret" }, /: "X-A" has a value with characters that no header/] as const,
      ["a header beyond Latin-1", { "X-A": "secret\u65e5" }, /: "X-A" has a value with characters/] as const,
    ].map(([name, headers, message]): (typeof rows)[number] => [
      name,
      { PREFECT_API_URL: URL_OF_SERVER, PREFECT_CLIENT_CUSTOM_HEADERS: JSON.stringify(headers) },
      message,
    ]),
    [
      "a line end in the auth string",
      { PREFECT_API_URL: URL_OF_SERVER, PREFECT_API_AUTH_STRING: "u:sec\rret" },
      /AUTH/,
    ],
  ];
  test.each(rows)("%s", (_, env, message) => {
    expect(() => resolve(env)).toThrow(SettingsError);
    expect(() => resolve(env)).toThrow(message);
    expect(() => resolve(env)).not.toThrow(/\n|\r|secret|sécret|ret/);
  });
});

test("headerSecrets are the values of custom headers, and the credentials within them", () => {
  const basic = Buffer.from("me:hidden-password").toString("base64");
  expect(headerSecrets({ "X-Token": "abcdef", Authorization: "Bearer tok-en" })).toEqual([
    "abcdef",
    "Bearer tok-en",
    "tok-en",
  ]);
  expect(headerSecrets({ Authorization: `Basic ${basic}` })).toEqual([
    `Basic ${basic}`,
    basic,
    "me:hidden-password",
    "hidden-password",
  ]);
});

describe("an Authorization header among the custom headers", () => {
  const headers = (value: string) => ({
    PREFECT_API_URL: URL_OF_SERVER,
    PREFECT_CLIENT_CUSTOM_HEADERS: JSON.stringify({ "X-Tenant": "1", authorization: value }),
  });
  const origin = "PREFECT_CLIENT_CUSTOM_HEADERS from the environment";

  test.each([
    ["Bearer some-token", "Bearer"],
    ["Basic dTpw", "Basic"],
    ["just-a-secret", "unknown"],
    ["secret", "unknown"],
  ])("is told by its scheme, never by its value: %s", (value, scheme) => {
    expect(resolve(headers(value)).customAuthorization).toEqual({ scheme, origin });
  });

  test("is none among other headers", () => {
    const env = { PREFECT_API_URL: URL_OF_SERVER, PREFECT_CLIENT_CUSTOM_HEADERS: '{"X-Tenant":"1"}' };
    expect(resolve(env).customAuthorization).toBeNull();
  });

  test("is a warning where a key and an auth string are set too, which are not sent then", () => {
    using directory = settingsDirectory();
    const env = headers("Bearer some-token");
    expect(directory.load(env).warnings).toEqual([]);
    const both = { ...env, PREFECT_API_KEY: "pnu_k", PREFECT_API_AUTH_STRING: "me:pass" };
    expect(directory.load(both).warnings).toEqual([
      `The Authorization header of ${origin} is sent in place of PREFECT_API_KEY and PREFECT_API_AUTH_STRING.`,
    ]);
  });
});
