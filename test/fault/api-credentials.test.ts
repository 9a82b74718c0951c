// Who the API client says it is, and what it tells the user when it is not believed.
import { describe, expect, test } from "vitest";
import { Credentials } from "../../src/api/credentials.ts";
import type { ApiError } from "../../src/api/errors.ts";
import { type ScriptedServer, startScriptedServer } from "../support/scripted-server.ts";
import { bearer, type ClientChanges, fixedCredentials, openTestClient, rejectionOf } from "./test-client.ts";

const credentials = fixedCredentials(bearer("marked-secret"));

const startServer = (): Promise<ScriptedServer> =>
  startScriptedServer({ http: { "GET /api/thing": [{ body: {}, always: true }] } });

/** The headers of one request made by a client with these changes. */
async function headersSent(changes: ClientChanges, prepare?: (api: ReturnType<typeof openTestClient>) => void) {
  await using server = await startServer();
  using api = openTestClient(server.url, changes);
  prepare?.(api);
  await api.request("GET", "/thing");
  return server.requests[0]?.headers ?? {};
}

describe("a refusal", () => {
  test.each([401, 403])("with %i names scheme, origin, address and the command to look it up", async (status) => {
    const body = { exception_message: "Unauthorized" };
    await using server = await startScriptedServer({ http: { "GET /api/thing": [{ status, body }] } });
    using api = openTestClient(server.url, { credentials });
    const { message } = (await rejectionOf(api.request("GET", "/thing"))) as ApiError;
    expect(message).toContain(`GET /thing: ${status} Unauthorized.`);
    expect(message).toContain('Sent Bearer with PREFECT_API_KEY from profile "prod"');
    expect(message).toContain(`${server.url}/api`);
    expect(message).toContain("`lictor config view`");
    expect(message).not.toContain("marked-secret");
    expect(message).not.toContain("\n");
    expect(server.requests).toHaveLength(1);
  });

  test("without credentials says that none were sent", async () => {
    await using server = await startScriptedServer({ http: { "GET /api/thing": [{ status: 401 }] } });
    using api = openTestClient(server.url);
    const { message } = (await rejectionOf(api.request("GET", "/thing"))) as ApiError;
    expect(message).toMatch(/^GET \/thing: 401 Unauthorized\. No credentials were sent to /);
  });
});

describe("a 401 while a custom header carries the credentials", () => {
  const customHeaders = { authorization: "Basic marked-secret" };
  const basic = { kind: "basic", header: "Basic dTpw", token: "u:p", origin: "PREFECT_API_AUTH_STRING" } as const;

  test.each([
    ["alone", undefined, "Sent the header Authorization of PREFECT_CLIENT_CUSTOM_HEADERS to "],
    [
      "beside an auth string",
      basic,
      "Sent the header Authorization of PREFECT_CLIENT_CUSTOM_HEADERS, instead of PREFECT_API_AUTH_STRING, to ",
    ],
  ])("speaks of that header: %s", async (_, authorization, sent) => {
    await using server = await startScriptedServer({ http: { "GET /api/thing": [{ status: 401 }] } });
    using api = openTestClient(server.url, { customHeaders, credentials: fixedCredentials(authorization) });
    const { message } = (await rejectionOf(api.request("GET", "/thing"))) as ApiError;
    expect(message).toContain(sent);
    expect(message).toContain("Correct or remove that header");
    expect(message).not.toMatch(/marked-secret|drops the header/);
  });

  test("does not make the client go over to credentials that are not sent", async () => {
    const said: string[] = [];
    const choice = { authorization: bearer("a"), fallback: basic };
    const credentials = new Credentials(choice, undefined, (message) => said.push(message));
    await using server = await startScriptedServer({ http: { "GET /api/thing": [{ status: 401 }] } });
    using api = openTestClient(server.url, { customHeaders, credentials });
    await rejectionOf(api.request("GET", "/thing"));
    expect([said, server.requests.length]).toEqual([[], 1]);
  });
});

describe("headers", () => {
  test("say version, API version and credentials", async () => {
    const headers = await headersSent({ credentials });
    expect(headers["user-agent"]).toMatch(/^prefect\/\d+\.\d+\.\d+ \(API \S+\)$/);
    expect(headers["x-prefect-api-version"]).toMatch(/^\d+\.\d+\.\d+$/);
    expect(headers.authorization).toBe("Bearer marked-secret");
  });

  test("a custom Authorization, in whatever case, replaces the client's own", async () => {
    const headers = await headersSent({ credentials, customHeaders: { authorization: "Token mine" } });
    expect(headers.authorization).toBe("Token mine");
  });

  test("custom ones of a protected name are left out, others are sent", async () => {
    const customHeaders = {
      "user-agent": "mine",
      "Prefect-Csrf-Token": "mine",
      "PREFECT-CSRF-CLIENT": "mine",
      "X-Team": "mine",
    };
    const headers = await headersSent({ customHeaders });
    expect(Object.entries(headers).filter(([, value]) => value === "mine")).toEqual([["x-team", "mine"]]);
  });

  test("name the worker, as UTF-8, once it is known", async () => {
    const headers = await headersSent({}, ({ attribution }) => {
      attribution.workerName = "prüfer";
      attribution.workerId = "some-id";
    });
    expect(Buffer.from(String(headers["x-prefect-worker-name"]), "latin1").toString("utf8")).toBe("prüfer");
    expect(headers["x-prefect-worker-id"]).toBe("some-id");
  });
});

test("a custom header that no request can carry is an error, not a crash, and is not repeated", async () => {
  await using server = await startServer();
  using api = openTestClient(server.url, { customHeaders: { "X-Bad": "two\nlines" } });
  expect(await rejectionOf(api.request("GET", "/thing"))).toMatchObject({ name: "UnreachableError" });
  expect(server.requests).toHaveLength(0);
});
