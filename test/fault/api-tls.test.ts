// TLS: whom the API client trusts, and that it does not ask again whom it does not trust.
import type { TLSSocket } from "node:tls";
import { expect, test } from "vitest";
import { sendWorkerHeartbeat } from "../../src/api/work-pools.ts";
import { startScriptedServer } from "../support/scripted-server.ts";
import { countingRandom, openTestClient, rejectionOf } from "./test-client.ts";
import { certificate, startTlsServer } from "./tls-server.ts";

test("a certificate of PREFECT_API_SSL_CERT_FILE is trusted", async () => {
  await using server = await startTlsServer();
  using api = openTestClient(server.origin, { tls: { ca: certificate, rejectUnauthorized: true } });
  expect(await api.request("GET", "/thing")).toEqual({ secure: true });
});

test("a certificate nobody vouches for is an error at once that says so", async () => {
  const waits = countingRandom();
  await using server = await startTlsServer();
  using api = openTestClient(server.origin, { random: waits.random });
  const error = await rejectionOf(api.request("GET", "/thing"));
  expect(error).toMatchObject({ name: "UnreachableError", code: "DEPTH_ZERO_SELF_SIGNED_CERT" });
  expect((error as Error).message).toMatch(/self.signed certificate/);
  expect(server.requests).toHaveLength(0);
  expect(server.connections).toBe(1);
  expect(waits.draws).toBe(0);
});

test("any certificate will do with PREFECT_API_TLS_INSECURE_SKIP_VERIFY", async () => {
  await using server = await startTlsServer();
  using api = openTestClient(server.origin, { tls: { ca: undefined, rejectUnauthorized: false } });
  expect(await api.request("GET", "/thing")).toEqual({ secure: true });
});

test("a redirect from http to https is followed, by the same rules of trust", async () => {
  await using server = await startTlsServer();
  const redirect = { status: 308, headers: { location: `${server.origin}/api/thing` }, always: true as const };
  await using plain = await startScriptedServer({ http: { "POST /api/thing": [redirect] } });
  using trusting = openTestClient(plain.url, { tls: { ca: certificate, rejectUnauthorized: true } });
  expect(await trusting.request("POST", "/thing", { body: {} })).toEqual({ secure: true });
  expect(server.requests.map(({ method }) => method)).toEqual(["POST"]);
  using wary = openTestClient(plain.url);
  expect(await rejectionOf(wary.request("POST", "/thing", { body: {} }))).toMatchObject({
    code: "DEPTH_ZERO_SELF_SIGNED_CERT",
  });
});

test("connections for heartbeats resume the TLS session of those for other requests", async () => {
  await using server = await startTlsServer();
  using api = openTestClient(server.origin, { tls: { ca: certificate, rejectUnauthorized: true } });
  await api.request("GET", "/thing");
  await sendWorkerHeartbeat(api, "p", { name: "w", heartbeat_interval_seconds: 30 });
  expect(server.connections).toBe(2);
  const reused = server.requests.map(({ socket }) => (socket as TLSSocket).isSessionReused());
  expect(reused).toEqual([false, true]);
});
