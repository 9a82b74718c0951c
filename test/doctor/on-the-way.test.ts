// What `lictor doctor` says when something between it and the server is in the way.
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { createServer } from "node:net";
import { describe, expect, inject, test } from "vitest";
import { findFreePort } from "../support/free-port.ts";
import { prefectApi } from "../support/prefect-api.ts";
import { startPrefectServer } from "../support/prefect-server.ts";
import { startReverseProxy } from "../support/reverse-proxy.ts";
import { type AnswerStep, startScriptedServer } from "../support/scripted-server.ts";
import { startPlainProxy } from "./plain-proxy.ts";
import { runDoctor } from "./run-doctor.ts";

describe("a reverse proxy that drops Upgrade", () => {
  test("is recognised by sockets that are answered like plain requests", async () => {
    await using proxy = await startPlainProxy(inject("apiUrl"));
    const pool = `doctor-${randomUUID()}`;
    await prefectApi(inject("apiUrl")).createWorkPool(pool);
    const diagnosis = await runDoctor({ PREFECT_API_URL: proxy.apiUrl }, ["--pool", pool]);
    expect(diagnosis.code).toBe(1);
    expect(diagnosis.named("fail")).toEqual(["/events/in", "/events/out"]);
    expect(diagnosis.named("warn")).toEqual(["worker channel"]);
    expect(diagnosis.find("/events/in")).toMatchObject({
      message: "the upgrade was answered with 404, just like a plain request",
      advice: expect.stringMatching(/a reverse proxy on the way drops `Upgrade`/),
    });
    expect(diagnosis.find("worker channel").message).toContain("405, just like a plain request");
  });

  test("and Authorization with it is told from wrong credentials", async () => {
    const authString = "admin:marked-password-31e";
    await using server = await startPrefectServer({ authString });
    await using proxy = await startPlainProxy(server.apiUrl, "authorization");
    const diagnosis = await runDoctor({ PREFECT_API_URL: proxy.apiUrl, PREFECT_API_AUTH_STRING: authString });
    expect(diagnosis.named("fail")).toEqual(["/events/in", "/events/out"]);
    expect(diagnosis.find("/events/out")).toMatchObject({
      message: "the upgrade was answered with 401, a plain request with the same credentials with 404",
      advice: expect.stringContaining("drops `Upgrade` or `Authorization`"),
    });
    expect(diagnosis.output).not.toContain("marked-password");
  });
});

describe("a reverse proxy that drops Authorization on upgrades", () => {
  const dropAuthorization = ({ headers }: { headers: Record<string, unknown> }): undefined => {
    delete headers.authorization;
  };

  test("is no harm to a self-hosted server, which asks inside the socket", async () => {
    const authString = "admin:marked-password-8b7";
    await using server = await startPrefectServer({ authString });
    await using proxy = await startReverseProxy(server.apiUrl, { onUpgrade: dropAuthorization });
    const diagnosis = await runDoctor({ PREFECT_API_URL: proxy.apiUrl, PREFECT_API_AUTH_STRING: authString });
    expect(diagnosis.code).toBe(0);
    expect(diagnosis.named("pass")).toEqual(expect.arrayContaining(["/events/in", "/events/out"]));
  });

  test("is recognised before Prefect Cloud", async () => {
    const cloud = { key: "pnu_marked_key_12f", accountId: randomUUID(), workspaceId: randomUUID() };
    await using gateway = await startReverseProxy(inject("apiUrl"), { cloud, onUpgrade: dropAuthorization });
    const diagnosis = await runDoctor({
      PREFECT_API_URL: gateway.apiUrl,
      PREFECT_CLOUD_API_URL: gateway.cloudApiUrl,
      PREFECT_API_KEY: cloud.key,
    });
    expect(diagnosis.named("fail")).toEqual(["/events/in"]);
    expect(diagnosis.find("/events/in")).toMatchObject({
      message: "the upgrade was answered with 401, a plain request with the same credentials with 404",
      advice: expect.stringContaining("a proxy on the way drops `Authorization` from upgrades"),
    });
    expect(diagnosis.output).not.toContain(cloud.key);
  });
});

test.each([
  [
    401,
    { "www-authenticate": "Basic" },
    /A proxy \(nginx\) asks for a login of its own.*PREFECT_CLIENT_CUSTOM_HEADERS/,
  ],
  [403, {}, /A proxy \(nginx\) does not let the request through/],
  [
    404,
    {},
    /nginx answers at 127\.0\.0\.1:\d+ and has no Prefect API at this path\. .*http:\/\/127\.0\.0\.1:\d+\/PREFIX\/api/,
  ],
  [407, {}, /HTTPS_PROXY=http:\/\/user:password@host:port/],
  [426, {}, /A proxy \(nginx\) takes another protocol only/],
  [502, {}, /A proxy \(nginx\) is there, but the Prefect server behind it gives it no proper answer/],
  [503, {}, /the Prefect server behind it is down or not ready/],
  [504, {}, /the Prefect server behind it does not answer it in time/],
])("a proxy that answers %i itself is told from the server", async (status, headers, advice) => {
  const page: AnswerStep = {
    status,
    headers: { "content-type": "text/html", server: "nginx", ...headers },
    body: "<html>",
  };
  await using server = await startScriptedServer({ http: { "GET /api/health": [page] } });
  const diagnosis = await runDoctor({ PREFECT_API_URL: `${server.url}/api` });
  expect(diagnosis.code).toBe(1);
  expect(diagnosis.find("health")).toMatchObject({
    status: "fail",
    message: `GET /health: ${status} (a web page, not the Prefect API)`,
    advice: expect.stringMatching(advice),
  });
  expect(diagnosis.named("fail")).toEqual(["health"]);
});

test("a web page with 200 is not taken for the API", async () => {
  const page = { headers: { "content-type": "text/html" }, body: "<html>Welcome</html>" };
  await using server = await startScriptedServer({ http: { "GET /api/health": [page] } });
  const diagnosis = await runDoctor({ PREFECT_API_URL: `${server.url}/api` });
  expect(diagnosis.find("health")).toMatchObject({
    status: "fail",
    message: expect.stringContaining("but with text/html instead of true"),
  });
});

test("a redirect is a warning, since WebSockets follow none", async () => {
  const headers = { location: `${inject("apiUrl")}/health` };
  await using server = await startScriptedServer({ http: { "GET /api/health": [{ status: 301, headers }] } });
  const diagnosis = await runDoctor({ PREFECT_API_URL: `${server.url}/api` });
  expect(diagnosis.find("health")).toMatchObject({
    status: "warn",
    message: expect.stringContaining(`redirected to ${headers.location}`),
  });
});

test("a clock that is wrong is a warning", async () => {
  const date = new Date(Date.now() - 90_000).toUTCString();
  await using server = await startScriptedServer({ http: { "GET /api/health": [{ headers: { date }, body: true }] } });
  const diagnosis = await runDoctor({ PREFECT_API_URL: `${server.url}/api` });
  expect(diagnosis.find("clock")).toMatchObject({
    status: "warn",
    message: expect.stringMatching(/^this machine's is (89|9\d) s ahead of the server's$/),
  });
});

describe("within 5 s", () => {
  async function timed(env: Record<string, string>, args: string[] = []) {
    const startedAt = performance.now();
    const diagnosis = await runDoctor(env, args, { patient: false });
    expect(performance.now() - startedAt).toBeLessThan(5_000);
    expect(diagnosis.code).toBe(1);
    return diagnosis;
  }

  test("a closed port is found", async () => {
    const diagnosis = await timed({ PREFECT_API_URL: `http://127.0.0.1:${await findFreePort()}/api` });
    expect(diagnosis.named("fail")).toEqual(["TCP"]);
    expect(diagnosis.find("TCP")).toMatchObject({
      message: expect.stringContaining("ECONNREFUSED"),
      advice: expect.stringContaining("Nothing listens on this port"),
    });
    expect(diagnosis.find("/events/in").message).toBe("not looked at, because TCP failed");
  });

  test("a name without a host is found", async () => {
    const diagnosis = await timed({ PREFECT_API_URL: "http://no-such-host.invalid/api" });
    expect(diagnosis.named("fail")).toEqual(["DNS"]);
  });

  test.each([
    ["by default", []],
    ["by --timeout", ["--timeout", "2"]],
  ])("a listener that never answers is given up %s", async (_, args) => {
    await using silent = await startSilentListener();
    const diagnosis = await timed({ PREFECT_API_URL: `http://127.0.0.1:${silent.port}/api` }, args);
    expect(diagnosis.find("health")).toMatchObject({ status: "fail", message: "no answer in time" });
    expect(diagnosis.find("authentication").message).toBe("not looked at, because health failed");
  });

  test("sockets that hang are given up while the rest is told", async () => {
    await using proxy = await startReverseProxy(inject("apiUrl"), { onUpgrade: () => new Promise(() => {}) });
    const diagnosis = await timed({ PREFECT_API_URL: proxy.apiUrl });
    expect(diagnosis.named("fail")).toEqual(["/events/in", "/events/out"]);
    expect(diagnosis.find("authentication").status).toBe("pass");
  });
});

async function startSilentListener(): Promise<{ port: number } & AsyncDisposable> {
  const server = createServer(() => {}).listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    port: (server.address() as AddressInfo).port,
    async [Symbol.asyncDispose]() {
      server.close();
    },
  };
}
