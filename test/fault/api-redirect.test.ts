// Redirects: followed, with the credentials only for the origin they were meant for.
import { expect, test } from "vitest";
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

test.each([301, 302, 303])("after a %i a write becomes a read without a body", async (status) => {
  const http = { "POST /api/thing": [to("/api/other", status)], "GET /api/other": [fine] };
  await using server = await startScriptedServer({ http });
  using api = openTestClient(server.url);
  expect(await api.request("POST", "/thing", { body: { a: 1 } })).toEqual({ fine: true });
  expect(server.requests[1]?.body).toBe("");
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
