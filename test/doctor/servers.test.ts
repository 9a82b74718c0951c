// What `lictor doctor` says about servers: open, with Basic authentication, with CSRF protection, and Prefect Cloud.
import { randomUUID } from "node:crypto";
import { describe, expect, inject, test } from "vitest";
import { runLictor } from "../support/lictor.ts";
import { type PrefectApi, prefectApi } from "../support/prefect-api.ts";
import { startPrefectServer } from "../support/prefect-server.ts";
import { startReverseProxy } from "../support/reverse-proxy.ts";
import { runDoctor } from "./run-doctor.ts";

const sockets = ["/events/in", "/events/out", "worker channel"];

async function newPool(api: PrefectApi, fields = {}): Promise<string> {
  const name = `doctor-${randomUUID()}`;
  await api.createWorkPool(name, fields);
  return name;
}

describe("a server without authentication", () => {
  const env = () => ({ PREFECT_API_URL: inject("apiUrl") });

  test("that is well gets nothing but passes and exit 0", async () => {
    const pool = await newPool(prefectApi(inject("apiUrl")), { concurrency_limit: 3 });
    const diagnosis = await runDoctor(env(), ["--pool", pool]);
    expect(diagnosis.named("fail").concat(diagnosis.named("warn"), diagnosis.named("skip"))).toEqual([]);
    expect(diagnosis.code).toBe(0);
    expect(diagnosis.named("pass")).toEqual([
      ...["profile", "PREFECT_API_URL", "PREFECT_API_KEY", "PREFECT_API_AUTH_STRING", "API URL", "credentials"],
      ...["proxy", "DNS", "TCP", "TLS", "health", "clock", "server", "authentication", "CSRF"],
      ...["body limit", "work pool"],
      ...sockets,
      ...["Python", "temporary directory", "file permissions"],
    ]);
    expect(diagnosis.find("server").message).toMatch(/^self-hosted, Prefect 3\.\d+/);
    expect(diagnosis.find("work pool").message).toMatch(/of type process, limit 3, .*work queues: default$/);
  });

  test("is told about in lines of text without --json", async () => {
    const { code, stdout } = await runLictor(["doctor", "--python", inject("python")], { env: env() });
    expect(code).toBe(0);
    expect(stdout).toMatch(/^pass {2}profile: .*\npass {2}PREFECT_API_URL: http.*, from the environment\n/);
    expect(stdout).toMatch(/\nskip {2}work pool: not looked at; name one by --pool\n/);
    expect(stdout).toMatch(/\n\n\d+ pass, 0 warn, 0 fail, 2 skip\n$/);
  });

  test.each([
    { what: "a missing pool", fields: undefined, status: "fail", message: /does not exist/ },
    { what: "a pool that needs no worker", fields: { type: "x:push" }, status: "fail", message: /x:push/ },
    { what: "a paused pool", fields: { is_paused: true }, status: "warn", message: /paused/ },
    { what: "a pool with a limit of 0", fields: { concurrency_limit: 0 }, status: "warn", message: /limit 0/ },
  ])("shows $what", async ({ fields, status, message }) => {
    const pool = fields ? await newPool(prefectApi(inject("apiUrl")), fields) : "no-such-pool";
    const diagnosis = await runDoctor(env(), ["--pool", pool]);
    expect(diagnosis.find("work pool")).toMatchObject({ status, message: expect.stringMatching(message) });
    expect(diagnosis.code).toBe(status === "fail" ? 1 : 0);
  });

  test("shows a pool whose queues are all paused", async () => {
    const api = prefectApi(inject("apiUrl"));
    const pool = await newPool(api);
    await api.updateWorkQueue(pool, "default", { is_paused: true });
    const finding = (await runDoctor(env(), ["--pool", pool])).find("work pool");
    expect(finding).toMatchObject({ status: "warn", message: expect.stringContaining("default (paused)") });
  });
});

test("a server with Basic authentication", async () => {
  const authString = "admin:marked-password-5d1";
  await using server = await startPrefectServer({ authString });
  const url = { PREFECT_API_URL: server.apiUrl };

  const right = await runDoctor({ ...url, PREFECT_API_AUTH_STRING: authString });
  expect(right.code).toBe(0);
  expect(right.find("PREFECT_API_AUTH_STRING").message).toBe("user admin, from the environment");
  expect(right.find("credentials").message).toBe("Basic with PREFECT_API_AUTH_STRING from the environment");
  expect(right.named("pass")).toEqual(expect.arrayContaining(["authentication", "/events/in", "/events/out"]));

  const wrong = await runDoctor({ ...url, PREFECT_API_AUTH_STRING: "admin:marked-wrong-77c" });
  expect(wrong.code).toBe(1);
  expect(wrong.named("fail")).toEqual(["authentication"]);
  expect(wrong.find("authentication").message).toContain("401 Unauthorized");
  expect(wrong.find("authentication").advice).toMatch(
    /^Sent Basic with PREFECT_API_AUTH_STRING.*PREFECT_SERVER_API_AUTH_STRING/,
  );
  expect(wrong.find("/events/out")).toMatchObject({
    status: "skip",
    message: "not looked at, because authentication failed",
  });

  const missing = await runDoctor(url);
  expect(missing.named("fail")).toEqual(["authentication"]);
  expect(missing.find("authentication").advice).toMatch(/^No credentials were sent.*Set PREFECT_API_AUTH_STRING/);

  const key = { PREFECT_API_KEY: "pnu_marked_key_0123456789" };
  const both = await runDoctor({ ...url, ...key, PREFECT_API_AUTH_STRING: authString });
  expect(both.code).toBe(0);
  expect(both.find("credentials").message).toMatch(/^Bearer with PREFECT_API_KEY .*a key comes first, and Basic/);
  expect(both.find("authentication")).toMatchObject({
    status: "warn",
    message: expect.stringMatching(/with PREFECT_API_AUTH_STRING .*, after PREFECT_API_KEY .* was refused/),
  });
  expect(both.find("PREFECT_API_KEY").message).toBe("25 characters, the last 6789, from the environment");
  const basic = `Basic ${Buffer.from(authString).toString("base64")}`;
  const custom = await runDoctor({
    ...url,
    PREFECT_CLIENT_CUSTOM_HEADERS: JSON.stringify({ Authorization: basic }),
  });
  expect(custom.named("fail")).toEqual(["/events/in", "/events/out"]);
  expect(custom.find("/events/in")).toMatchObject({
    message: expect.stringContaining("closed with 1008 Auth required but no token provided"),
    advice: expect.stringMatching(/^Inside a socket only the key or the auth string counts, not a header/),
  });
  expect(custom.output).not.toContain(basic.slice(6));
  expect(right.output + wrong.output + missing.output + both.output).not.toMatch(/marked/);
});

test("a server with CSRF protection", async () => {
  await using server = await startPrefectServer({ env: { PREFECT_SERVER_CSRF_PROTECTION_ENABLED: "true" } });
  const env = { PREFECT_API_URL: server.apiUrl };
  const taken = await runDoctor(env);
  expect(taken.code).toBe(0);
  expect(taken.find("CSRF").message).toContain("switched on");
  const refused = await runDoctor({ ...env, PREFECT_CLIENT_CSRF_SUPPORT_ENABLED: "false" });
  expect(refused.find("authentication")).toMatchObject({
    status: "fail",
    message: expect.stringContaining("403 Missing CSRF token"),
    advice: expect.stringContaining("PREFECT_CLIENT_CSRF_SUPPORT_ENABLED"),
  });
});

describe("a gateway like Prefect Cloud's", () => {
  const cloud = { key: "pnu_marked_key_9a4", accountId: randomUUID(), workspaceId: randomUUID() };
  const startGateway = () => startReverseProxy(inject("apiUrl"), { cloud });
  const envOf = (gateway: { apiUrl: string; cloudApiUrl: string }, key: string) => ({
    PREFECT_API_URL: gateway.apiUrl,
    PREFECT_CLOUD_API_URL: gateway.cloudApiUrl,
    PREFECT_API_KEY: key,
  });

  test("passes with the right key, which it names by its workspace", async () => {
    await using gateway = await startGateway();
    const pool = await newPool(prefectApi(inject("apiUrl")));
    const diagnosis = await runDoctor(envOf(gateway, cloud.key), ["--pool", pool]);
    expect(diagnosis.code).toBe(0);
    expect(diagnosis.find("server").message).toBe("Prefect Cloud, workspace test-account/test-workspace");
    expect(diagnosis.named("pass")).toEqual(expect.arrayContaining(sockets));
    expect(diagnosis.output).not.toContain(cloud.key);
  });

  test("finds the workspace of a key alone", async () => {
    await using gateway = await startGateway();
    const { PREFECT_API_URL: _, ...env } = envOf(gateway, cloud.key);
    const diagnosis = await runDoctor(env);
    expect(diagnosis.code).toBe(0);
    expect(diagnosis.find("server").message).toContain("test-account/test-workspace");
  });

  test("refuses a wrong key", async () => {
    await using gateway = await startGateway();
    const diagnosis = await runDoctor(envOf(gateway, "pnu_marked_wrong"));
    expect(diagnosis.code).toBe(1);
    expect(diagnosis.find("authentication")).toMatchObject({
      status: "fail",
      advice: expect.stringMatching(
        /^Sent Bearer with PREFECT_API_KEY from the environment.*wrong, expired or revoked/,
      ),
    });
    expect(diagnosis.output).not.toContain("pnu_marked_wrong");
  });

  test("does not open a workspace that is not the key's", async () => {
    await using gateway = await startGateway();
    const elsewhere = gateway.apiUrl.replace(cloud.workspaceId, randomUUID());
    const diagnosis = await runDoctor({ ...envOf(gateway, cloud.key), PREFECT_API_URL: elsewhere });
    expect(diagnosis.find("server")).toMatchObject({
      status: "fail",
      advice: "It can enter: test-account/test-workspace.",
    });
  });
});
