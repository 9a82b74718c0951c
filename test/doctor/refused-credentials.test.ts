// A 401 to an auth string: what `lictor doctor` and a worker say about it, whoever is at fault.
import { expect, test } from "vitest";
import { runLictor } from "../support/lictor.ts";
import { startPrefectServer } from "../support/prefect-server.ts";
import { type ProxyOptions, startReverseProxy } from "../support/reverse-proxy.ts";
import { runDoctor } from "./run-doctor.ts";

const authString = "admin:marked-password-c4e";

const dropAuthorization = ({ headers }: { headers: Record<string, unknown> }): undefined => {
  delete headers.authorization;
};

/** As nginx with `auth_basic`. */
const login: ProxyOptions = {
  onRequest: ({ path }) => (path === "/health" ? undefined : { status: 401, headers: { server: "nginx" }, body: "" }),
  onUpgrade: () => 401,
};

const rightString = /The auth string is right: .* a proxy on the way drops or changes the header `Authorization`/;
const wrongString = /It is not the server's PREFECT_SERVER_API_AUTH_STRING: .* inside a WebSocket too/;
const proxyLogin = /A proxy on the way asks for a login of its own/;

test("the causes of a 401 are told apart for a server with an auth string", async () => {
  const cases: [what: string, proxy: ProxyOptions, sent: string, cause: RegExp][] = [
    ["a proxy drops Authorization", { onRequest: dropAuthorization }, authString, rightString],
    [
      "a proxy drops it from upgrades too",
      { onRequest: dropAuthorization, onUpgrade: dropAuthorization },
      authString,
      rightString,
    ],
    ["another auth string is sent", {}, "admin:marked-wrong-18f", wrongString],
    ["a proxy asks for a login", login, authString, proxyLogin],
  ];
  await using server = await startPrefectServer({ authString });
  for (const [what, options, sent, cause] of cases) {
    await using proxy = await startReverseProxy(server.apiUrl, options);
    const env = { PREFECT_API_URL: proxy.apiUrl, PREFECT_API_AUTH_STRING: sent };
    const diagnosis = await runDoctor(env);
    expect(diagnosis.code, what).toBe(1);
    const { status, advice } = diagnosis.find("authentication");
    expect(status, what).toBe("fail");
    expect(advice, what).toMatch(cause);
    expect(advice, what).toContain("Sent Basic with PREFECT_API_AUTH_STRING");
    const worker = await runLictor(["worker", "start", "--pool", "any"], { env });
    expect(worker.code, what).toBe(1);
    expect(worker.stderr.trim().split("\n"), what).toHaveLength(1);
    expect(worker.stderr, what).toMatch(cause);
    expect(diagnosis.output + worker.stderr + worker.stdout, what).not.toContain("marked");
  }
});

test("a custom header that replaces the auth string is blamed in its place", async () => {
  const header = (value: string): string => JSON.stringify({ Authorization: `Basic ${btoa(value)}` });
  await using server = await startPrefectServer({ authString });
  const env = { PREFECT_API_URL: server.apiUrl, PREFECT_API_AUTH_STRING: authString };
  const wrong = { ...env, PREFECT_CLIENT_CUSTOM_HEADERS: header("admin:marked-wrong-18f") };
  const blamed = /Sent the header Authorization of PREFECT_CLIENT_CUSTOM_HEADERS, instead of PREFECT_API_AUTH_STRING/;
  const diagnosis = await runDoctor(wrong);
  expect(diagnosis.find("authentication")).toMatchObject({ status: "fail", advice: expect.stringMatching(blamed) });
  const sent =
    /^the header Authorization \(Basic\) of PREFECT_CLIENT_CUSTOM_HEADERS .*, instead of PREFECT_API_AUTH_STRING/;
  expect(diagnosis.find("credentials")).toMatchObject({ status: "warn", message: expect.stringMatching(sent) });
  const worker = await runLictor(["worker", "start", "--pool", "any"], { env: wrong });
  expect(worker.code).toBe(1);
  expect(worker.stderr).toMatch(blamed);
  expect(diagnosis.output + worker.stderr + worker.stdout).not.toContain("marked");
  const right = { ...env, PREFECT_API_AUTH_STRING: "a:b", PREFECT_CLIENT_CUSTOM_HEADERS: header(authString) };
  const accepted = (await runDoctor(right)).find("authentication");
  expect(accepted).toMatchObject({
    status: "pass",
    message: expect.stringContaining("200 with PREFECT_CLIENT_CUSTOM_HEADERS"),
  });
});

test("a server without an auth string behind a proxy that asks for a login over HTTP only", async () => {
  const { onRequest } = login;
  await using server = await startPrefectServer();
  await using proxy = await startReverseProxy(server.apiUrl, onRequest ? { onRequest } : {});
  const env = { PREFECT_API_URL: proxy.apiUrl, PREFECT_API_AUTH_STRING: authString };
  const diagnosis = await runDoctor(env);
  expect(diagnosis.find("authentication").advice).toMatch(
    /The Prefect server itself asks for no auth string: .* a proxy on the way asks for a login of its own/,
  );
  expect(diagnosis.output).not.toContain("marked");
});
