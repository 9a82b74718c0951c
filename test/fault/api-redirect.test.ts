// Redirects: followed, with the credentials only for the origin they were meant for.
import { expect, test } from "vitest";
import type { HttpRequest, HttpResponse } from "../../src/api/http-message.ts";
import { redirected } from "../../src/api/redirect.ts";
import { type AnswerStep, startScriptedServer } from "../support/scripted-server.ts";
import { bearer, fixedCredentials, openTestClient, rejectionOf } from "./test-client.ts";

const fine: AnswerStep = { body: { fine: true } };
const credentials = fixedCredentials(bearer("marked-secret"));

function to(location: string, status = 307): AnswerStep {
  return { status, headers: { location } };
}

test("a redirect within the origin is followed with credentials, method and body", async () => {
  const http = { "POST /api/thing": [to("/api/thing/")], "POST /api/thing/": [fine] };
  await using server = await startScriptedServer({ http });
  using api = openTestClient(server.url, { credentials });
  expect(await api.request("POST", "/thing", { body: { a: 1 } })).toEqual({ fine: true });
  expect(server.requests[1]).toMatchObject({ body: '{"a":1}', headers: { authorization: "Bearer marked-secret" } });
});

test("a redirect to another origin is followed without the credentials", async () => {
  await using other = await startScriptedServer({ http: { "GET /elsewhere": [fine] } });
  await using server = await startScriptedServer({ http: { "GET /api/thing": [to(`${other.url}/elsewhere`)] } });
  using api = openTestClient(server.url, { credentials, customHeaders: { Cookie: "marked-secret" } });
  expect(await api.request("GET", "/thing")).toEqual({ fine: true });
  expect(server.requests[0]?.headers.authorization).toBe("Bearer marked-secret");
  expect(other.requests).toHaveLength(1);
  expect(JSON.stringify(other.requests[0]?.headers)).not.toContain("marked-secret");
});

test("the CSRF token stays with its origin too", async () => {
  await using other = await startScriptedServer({ http: { "POST /elsewhere": [fine] } });
  const http = {
    "GET /api/csrf-token": [{ body: { token: "marked-secret", expiration: "2999-01-01T00:00:00Z" } }],
    "POST /api/thing": [to(`${other.url}/elsewhere`)],
  };
  await using server = await startScriptedServer({ http });
  using api = openTestClient(server.url, { csrfEnabled: true });
  await api.request("POST", "/thing", { body: {} });
  expect(server.requests[1]?.headers["prefect-csrf-token"]).toBe("marked-secret");
  expect(JSON.stringify(other.requests[0]?.headers)).not.toContain("marked-secret");
});

test("custom headers stay with their origin", async () => {
  await using other = await startScriptedServer({ http: { "GET /elsewhere": [fine] } });
  await using server = await startScriptedServer({ http: { "GET /api/thing": [to(`${other.url}/elsewhere`)] } });
  using api = openTestClient(server.url, { credentials, customHeaders: { "X-Access-Secret": "marked-secret" } });
  api.attribution.workerName = "marked-name";
  await api.request("GET", "/thing");
  expect(server.requests[0]?.headers["x-access-secret"]).toBe("marked-secret");
  expect(other.requests[0]?.headers).toMatchObject({ accept: "application/json", "user-agent": expect.any(String) });
  expect(JSON.stringify(other.requests[0]?.headers)).not.toMatch(/marked|prefect-/i);
});

test("an upgrade to https of the same host keeps credentials and custom headers", () => {
  const headers = { Accept: "application/json", Authorization: "Bearer x", "X-Tenant": "1" };
  const bare = { Accept: "application/json" };
  const cases: [from: string, location: string, headers: object][] = [
    ["http://host/api/thing", "https://host/api/thing", headers],
    ["http://host:4200/api/thing", "https://host:4200/api/thing", headers],
    ["http://host:4200/api/thing", "https://host/api/thing", headers],
    ["http://host/api/thing", "https://host:8443/api/thing", bare],
    ["http://host/api/thing", "https://other/api/thing", bare],
    ["https://host/api/thing", "http://host/api/thing", bare],
  ];
  for (const [from, location, expected] of cases) {
    const request = { url: new URL(from), method: "GET", headers } as unknown as HttpRequest;
    const response = { status: 308, headers: { location }, url: new URL(from) } as unknown as HttpResponse;
    const { url, headers: kept = headers } = redirected(request, response) ?? {};
    expect([url?.href, kept], `${from} to ${location}`).toEqual([location, expected]);
  }
});

test.each([301, 302, 303])("a write that is redirected by %i is refused with the URL to set", async (status) => {
  const http = { "POST /api/thing": [to("/prefect/api/thing?token=marked-secret", status)] };
  await using server = await startScriptedServer({ http });
  using api = openTestClient(server.url);
  const error = (await rejectionOf(api.request("POST", "/thing", { body: { a: 1 } }))) as Error;
  expect(error).toMatchObject({ name: "ApiError", status });
  expect(error.message).toMatch(/where a POST would become a GET/);
  expect(error.message).toContain(`Set PREFECT_API_URL=${server.url}/prefect/api.`);
  expect(error.message).not.toContain("marked-secret");
  expect(server.requests).toHaveLength(1);
});

test("a write that is redirected to a login page says what it may be", async () => {
  await using server = await startScriptedServer({ http: { "POST /api/thing": [to("/login?next=/api/thing", 302)] } });
  using api = openTestClient(server.url);
  const { message } = (await rejectionOf(api.request("POST", "/thing", { body: {} }))) as Error;
  expect(message).toMatch(/redirected to http:.*\/login\. If that is a login page, .*PREFECT_CLIENT_CUSTOM_HEADERS/);
});

test("a 401 after a redirect to another origin is not blamed on the credentials", async () => {
  await using other = await startScriptedServer({
    http: { "GET /api/thing": [{ status: 401, body: { detail: "no" } }] },
  });
  await using server = await startScriptedServer({ http: { "GET /api/thing": [to(`${other.url}/api/thing`)] } });
  using api = openTestClient(server.url, { credentials });
  const { message } = (await rejectionOf(api.request("GET", "/thing"))) as Error;
  expect(message).toBe(
    `GET /thing: 401 no. The request was redirected to ${other.url}, where credentials are not sent. Set PREFECT_API_URL=${other.url}/api.`,
  );
});

test("redirects in a circle end as an error with the status", async () => {
  await using server = await startScriptedServer({
    http: { "GET /api/thing": [{ ...to("/api/thing"), always: true }] },
  });
  using api = openTestClient(server.url);
  expect(await rejectionOf(api.request("GET", "/thing"))).toMatchObject({ name: "ApiError", status: 307 });
  expect(server.requests).toHaveLength(6);
});

test.each(["http://", "ftp://127.0.0.1/", "https:///"])(
  "a redirect to nowhere (%s) is an error, no crash",
  async (location) => {
    await using server = await startScriptedServer({ http: { "GET /api/thing": [to(location)] } });
    using api = openTestClient(server.url);
    const error = (await rejectionOf(api.request("GET", "/thing"))) as Error;
    expect(["ApiError", "UnreachableError"]).toContain(error.name);
    expect(server.requests).toHaveLength(1);
  },
);
