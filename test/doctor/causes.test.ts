// The texts of causes: which of them a refusal gets, also as the error of a worker.
import { describe, expect, test } from "vitest";
import { causeOfLostConnection, causeOfRefusal, causeOfRefusedUpgrade, type Refusal } from "../../src/api/causes.ts";
import { runLictor } from "../support/lictor.ts";
import { startScriptedServer } from "../support/scripted-server.ts";

describe("a refused request", () => {
  const page: Partial<Refusal> = { isPage: true, detail: undefined };
  test.each<[string, Partial<Refusal>, RegExp | undefined]>([
    ["401 without credentials", { status: 401, scheme: "none" }, /^Set PREFECT_API_AUTH_STRING/],
    ["401 without a key for Cloud", { status: 401, scheme: "none", isCloud: true }, /^Set PREFECT_API_KEY/],
    ["401 with a key for Cloud", { status: 401, scheme: "bearer", isCloud: true }, /wrong, expired or revoked/],
    ["401 with a key for a server", { status: 401, scheme: "bearer" }, /takes PREFECT_API_AUTH_STRING, not a key/],
    ["401 with Basic", { status: 401, scheme: "basic" }, /PREFECT_SERVER_API_AUTH_STRING.*drops the header/],
    ["401 of a proxy", { status: 401, ...page }, /login of its own/],
    ["403 of Cloud", { status: 403, isCloud: true }, /may not do this in this workspace/],
    ["403 of a proxy", { status: 403, ...page, server: "gate/1" }, /^A proxy \(gate\/1\) does not let/],
    [
      "403 for want of a CSRF token",
      { status: 403, detail: "Missing CSRF token." },
      /CSRF_SUPPORT_ENABLED.*share one da/,
    ],
    [
      "404 for a route",
      { status: 404, detail: "Not Found", apiPath: "/" },
      /PREFECT_API_URL of a self-hosted.*ends in \/api/,
    ],
    ["404 for a route below /api", { status: 404, detail: "Not Found" }, /although PREFECT_API_URL ends in \/api/],
    ["404 of a proxy", { status: 404, ...page, server: "nginx/1" }, /`nginx\/1` has answered.*need a path prefix/],
    ["404 of who knows", { status: 404, ...page }, /Something other than the Prefect API has answered/],
    ["400 of nginx", { status: 400, body: "<center>The plain HTTP request was sent to HTTPS port</center>" }, /https:/],
    ["400 of Go", { status: 400, body: "Client sent an HTTP request to an HTTPS server.\n" }, /begin with https:/],
    ["400 of the API", { status: 400, body: '{"detail":"no"}' }, undefined],
    ["404 for a thing", { status: 404, detail: "Work pool not found" }, undefined],
    ["407", { status: 407 }, /HTTPS_PROXY=/],
    ["426", { status: 426 }, /another protocol/],
    ["502 of a proxy", { status: 502, ...page }, /gives it no proper answer/],
    ["503 of a proxy", { status: 503, ...page }, /is down or not ready/],
    ["503 in the words of the API", { status: 503, detail: "database is locked" }, undefined],
    ["500", { status: 500 }, undefined],
  ])("%s", (_, refusal, expected) => {
    const answer = { detail: "Unauthorized", isPage: false, server: undefined, body: "" } as const;
    const plain = { ...answer, isCloud: false, apiPath: "/api", scheme: "none" } as const;
    const cause = causeOfRefusal({ status: 0, ...plain, ...refusal });
    if (expected) expect(cause).toMatch(expected);
    else expect(cause).toBeUndefined();
  });
});

test("a server that takes a connection and does not answer is not a firewall", () => {
  expect(causeOfLostConnection("RESPONSE_TIMEOUT")).toMatch(/one of several servers behind a proxy is dead/);
  expect(causeOfLostConnection("ETIMEDOUT")).toMatch(/firewall/);
});

test.each([
  [200, "text/html", /drops `Upgrade`/],
  [301, "", /follow no redirect/],
  [401, "", /drops `Authorization` from upgrades/],
  [401, "application/json", /drops `Upgrade` or `Authorization`/],
  [403, "text/plain", /drops `Sec-WebSocket-Protocol`/],
  [404, "application/json", /drops `Upgrade`/],
  [407, "", /HTTPS_PROXY=/],
  [426, "", /drops `Upgrade`/],
  [502, "text/html", /did not reach the Prefect server/],
  [418, "", /does not let WebSockets through/],
])("an upgrade that is answered with %i (%s) has its cause", (status, contentType, expected) => {
  expect(causeOfRefusedUpgrade(status, contentType)).toMatch(expected);
});

const refusedBody: Readonly<Record<number, string>> = { 400: "The plain HTTP request was sent to HTTPS port" };

test.each([
  [
    401,
    /^Unable to determine the type .*401.*Sent Bearer with PREFECT_API_KEY.*takes PREFECT_API_AUTH_STRING, not a key/,
  ],
  [403, /^Unable to determine the type .*403.*Sent Bearer.*does not let the request through/],
  [400, /^Unable to determine the type .*400.*PREFECT_API_URL has to begin with https:/],
  [404, /^Unable to determine the type .*404.*There is no such route here: `nginx` has answered.*path prefix/],
  [407, /^Unable to determine the type .*407.*HTTPS_PROXY=/],
  [426, /^Unable to determine the type .*426.*another protocol/],
  [502, /^Unable to reach the Prefect API .*502.*A proxy \(nginx\) is there, but/],
  [503, /^Unable to reach the Prefect API .*503.*is down or not ready/],
])("a worker whose start is refused with %i says why in one line", async (status, expected) => {
  const answer = { status, headers: { server: "nginx" }, body: refusedBody[status] ?? "no", always: true as const };
  await using server = await startScriptedServer({ http: { "GET /api/work_pools/p": [answer] } });
  const { code, stdout, stderr } = await runLictor(["worker", "start", "--pool", "p"], {
    env: {
      PREFECT_API_URL: `${server.url}/api`,
      PREFECT_API_KEY: "marked-key",
      PREFECT_CLIENT_MAX_RETRIES: "0",
    },
  });
  expect(code).toBe(1);
  expect(stderr).toMatch(expected);
  expect(stderr.trimEnd()).not.toContain("\n");
  expect(stdout + stderr).not.toContain("marked-key");
});
