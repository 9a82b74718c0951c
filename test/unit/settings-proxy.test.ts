// Which proxy a URL is reached through.
import { describe, expect, test } from "vitest";
import { chooseProxy, proxySecrets, tidyProxyVariables } from "../../src/settings/proxy.ts";

type Env = Record<string, string>;

const P = "http://proxy.example:3128";

function chosen(url: string, env: Env): string | undefined {
  const choice = chooseProxy(new URL(url), env);
  return choice && `${choice.variable} ${choice.url}`;
}

describe("the variable that applies", () => {
  test.each<[string, string, Env, string | undefined]>([
    ["nothing set", "https://api.example/api", {}, undefined],
    ["https", "https://api.example/api", { HTTPS_PROXY: P }, `HTTPS_PROXY ${P}`],
    ["http", "http://api.example/api", { HTTP_PROXY: P }, `HTTP_PROXY ${P}`],
    ["not that of the other scheme", "http://api.example/api", { HTTPS_PROXY: P }, undefined],
    ["all, when there is no other", "http://api.example/api", { ALL_PROXY: P, HTTPS_PROXY: "x" }, `ALL_PROXY ${P}`],
    ["the other before all", "http://api.example/api", { ALL_PROXY: "http://all:1", http_proxy: P }, `http_proxy ${P}`],
    [
      "lower case before upper",
      "https://a.example",
      { HTTPS_PROXY: "http://upper:1", https_proxy: P },
      `https_proxy ${P}`,
    ],
    ["an empty lower case, which means none", "https://a.example", { HTTPS_PROXY: P, https_proxy: "" }, undefined],
    ["without a scheme it is http", "https://a.example", { HTTPS_PROXY: "proxy.example:3128" }, `HTTPS_PROXY ${P}`],
    ["an https proxy", "http://a.example", { all_proxy: "https://p.example" }, "all_proxy https://p.example"],
  ])("%s", (_title, url, env, expected) => {
    expect(chosen(url, env)).toBe(expected);
  });
});

describe("NO_PROXY", () => {
  test.each<[string, string, boolean]>([
    ["https://api.example/api", "*", true],
    ["https://api.example/api", "other,*", true],
    ["https://api.example/api", "api.example", true],
    ["https://api.example/api", "API.Example", true],
    ["https://api.example/api", "example", true],
    ["https://api.example/api", ".example", true],
    ["https://api.example/api", "*.example", true],
    ["https://api.example/api", "pi.example", false],
    ["https://api.example/api", "b.api.example", false],
    ["https://api.example/api", " a.b , api.example ", true],
    ["https://api.example/api", "a.b api.example", true],
    ["https://api.example/api", ",,", false],
    ["https://api.example/api", ".", false],
    ["https://api.example/api", "api.example:443", true],
    ["https://api.example/api", "api.example:8443", false],
    ["http://api.example/api", "example:80", true],
    ["http://api.example:4200/api", "api.example:4200", true],
    ["http://10.1.2.3:4200/api", "10.1.2.3", true],
    ["http://10.1.2.3:4200/api", "10.1.2.3:4200", true],
    ["http://10.1.2.3:4200/api", "10.0.0.0/8", true],
    ["http://11.1.2.3:4200/api", "10.0.0.0/8", false],
    ["http://10.1.2.3:4200/api", "10.0.0.0/33", false],
    ["http://10.1.2.3:4200/api", "10.0.0.0/x", false],
    ["http://10.1.2.3:4200/api", "2.3", false],
    ["http://api.example/api", "10.0.0.0/8", false],
    ["http://[fd00::1]:4200/api", "fd00::/8", true],
    ["http://[fd00::1]:4200/api", "fd00:0::1", true],
    ["http://[fd00::1]:4200/api", "[fd00::1]:4200", true],
    ["http://[fd00::1]:4200/api", "[fd00::1]:80", false],
    ["http://[fd00::1]:4200/api", "10.0.0.0/8", false],
  ])("for %s: %j", (url, list, isExcepted) => {
    for (const name of ["NO_PROXY", "no_proxy"]) {
      expect(chosen(url, { ALL_PROXY: P, [name]: list })).toBe(isExcepted ? undefined : `ALL_PROXY ${P}`);
    }
  });
});

describe("credentials", () => {
  const env = { HTTPS_PROXY: "http://me%40work:marked%2Fsecret%25@proxy.example:3128" };
  const sent = Buffer.from("me@work:marked/secret%").toString("base64");

  test("go into a header and stay out of the URL", () => {
    expect(chooseProxy(new URL("https://api.example"), env)).toEqual({
      url: P,
      authorization: `Basic ${sent}`,
      variable: "HTTPS_PROXY",
    });
  });

  test("with a % that escapes nothing are taken as they are", () => {
    const choice = chooseProxy(new URL("https://a.example"), { HTTPS_PROXY: "http://me:100%@proxy.example:3128" });
    expect(choice?.authorization).toBe(`Basic ${Buffer.from("me:100%").toString("base64")}`);
  });

  test("are secrets in every form they have", () => {
    expect(proxySecrets(env)).toEqual(expect.arrayContaining(["marked%2Fsecret%25", "marked/secret%", sent]));
    expect(proxySecrets({ all_proxy: "me:marked@secret@proxy:3128" })).toContain("marked@secret");
    expect(proxySecrets({ HTTP_PROXY: P, NO_PROXY: "a" })).toEqual([]);
  });
});

describe("what is no proxy", () => {
  test.each([
    ["socks5://me:marked-secret@proxy:1080", /^ALL_PROXY: SOCKS proxies are not supported, expected .*http:/],
    ["ftp://me:marked-secret@proxy:1080", /^ALL_PROXY: not the address of a proxy, expected .*http:/],
    ["http://me:marked-secret@proxy:port", /^ALL_PROXY: not the address of a proxy, expected .*http:/],
  ])("%s is an error without the password", (text, message) => {
    const choose = () => chooseProxy(new URL("https://api.example"), { ALL_PROXY: text });
    expect(choose).toThrow(message);
    expect(choose).not.toThrow(/marked/);
  });

  test("does not matter where NO_PROXY applies", () => {
    expect(
      chosen("https://api.example", { ALL_PROXY: "socks5://proxy:1080", NO_PROXY: "api.example" }),
    ).toBeUndefined();
  });
});

test("tidyProxyVariables writes what Python would misread as Python needs it, and leaves the rest alone", () => {
  const env = {
    HTTP_PROXY: " http://proxy:3128\n",
    https_proxy: "http://proxy:3128",
    ALL_PROXY: "",
    NO_PROXY: "a.example b.example,  10.0.0.0/8\n",
    no_proxy: "a,b",
  };
  expect(tidyProxyVariables(env)).toEqual({
    HTTP_PROXY: "http://proxy:3128",
    NO_PROXY: "a.example,b.example,10.0.0.0/8",
  });
});
