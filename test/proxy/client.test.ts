// The API client behind a proxy, below the level of a worker.
import { afterAll, beforeAll, expect, inject, test } from "vitest";
import type { ApiClient } from "../../src/api/client.ts";
import { countingRandom, openTestClient, rejectionOf } from "../fault/test-client.ts";
import { type Authority, makeAuthority } from "../support/certificates.ts";
import { startForwardProxy } from "../support/forward-proxy.ts";
import { startTlsGateway } from "../support/tls-gateway.ts";
import { waitFor } from "../support/wait-for.ts";

let authority: Authority;
beforeAll(async () => {
  authority = await makeAuthority();
});
afterAll(async () => await authority?.[Symbol.asyncDispose]());

function openProxied(apiUrl: string, proxyUrl: string, random?: () => number): ApiClient {
  return openTestClient(apiUrl.replace(/\/api$/, ""), {
    tls: { ca: authority.ca, rejectUnauthorized: true },
    proxyFor: () => ({ url: proxyUrl, authorization: null, variable: "ALL_PROXY" }),
    ...(random && { random }),
  });
}

test("a tunnel is kept for the next request, and the server's name is checked inside", async () => {
  await using gateway = await startTlsGateway(inject("apiUrl"), authority.good);
  await using proxy = await startForwardProxy();
  using api = openProxied(gateway.apiUrl.replace("127.0.0.1", "localhost"), proxy.url);
  for (let count = 0; count < 3; count++) expect(await api.request("GET", "/health")).toBe(true);
  expect(proxy.tunnels).toEqual([`localhost:${new URL(gateway.apiUrl).port}`]);
  await using elsewhere = await startTlsGateway(inject("apiUrl"), authority.elsewhere);
  using misled = openProxied(elsewhere.apiUrl, proxy.url);
  expect(await rejectionOf(misled.request("GET", "/health"))).toMatchObject({ code: "ERR_TLS_CERT_ALTNAME_INVALID" });
});

test.each([407, 403, 502])(
  "a proxy that answers %i itself ends no request that is repeated until the server answers",
  async (status) => {
    const waits = countingRandom();
    await using gateway = await startTlsGateway(inject("apiUrl"), authority.good);
    await using proxy = await startForwardProxy();
    using api = openProxied(gateway.apiUrl, proxy.url, waits.random);
    await api.request("GET", "/health");
    proxy.onConnect = status;
    proxy.dropAll();
    const pending = api.request("GET", "/health", { endless: true });
    await waitFor(() => waits.draws >= 1, { timeoutMs: 5_000, what: "the first refusal" });
    proxy.onConnect = 200;
    expect(await pending).toBe(true);
  },
);

test("a request can be given up while a proxy is silent", async () => {
  await using proxy = await startForwardProxy();
  proxy.onConnect = "silence";
  using api = openProxied("https://api.example/api", proxy.url);
  const stop = new AbortController();
  const pending = rejectionOf(api.request("GET", "/health", { signal: stop.signal }));
  await waitFor(() => proxy.headers.length === 1, { timeoutMs: 5_000, what: "CONNECT" });
  stop.abort(new Error("enough"));
  expect(await pending).toMatchObject({ message: "enough" });
});
