// A worker in a network that is left through a proxy only.
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, inject, test } from "vitest";
import { type Authority, makeAuthority } from "../support/certificates.ts";
import { startForwardProxy } from "../support/forward-proxy.ts";
import { findFreePort } from "../support/free-port.ts";
import { runLictor, startLictor } from "../support/lictor.ts";
import { startWorker } from "../support/start-worker.ts";
import { makeTemporaryDirectory } from "../support/temporary-directory.ts";
import { startTlsGateway } from "../support/tls-gateway.ts";
import { waitFor } from "../support/wait-for.ts";
import { lines, preparePool, rarePolls, runsByEvent } from "./flow-run.ts";

let authority: Authority;
beforeAll(async () => {
  authority = await makeAuthority();
});
afterAll(async () => await authority?.[Symbol.asyncDispose]());

const credentials = "worker:marked-secret-3e1";

describe("through a proxy with credentials", () => {
  test("https: and wss: go through tunnels, and what is inside stays unseen", async () => {
    await using gateway = await startTlsGateway(inject("apiUrl"), authority.good);
    await using proxy = await startForwardProxy({ credentials });
    const prepared = await preparePool();
    await using worker = await startWorker(prepared.pool, {
      apiUrl: gateway.apiUrl,
      env: {
        PREFECT_API_SSL_CERT_FILE: authority.caFile,
        PREFECT_API_AUTH_STRING: "admin:for-the-server",
        HTTPS_PROXY: proxy.urlWith(credentials),
        DEBUG: "*",
        ...rarePolls,
      },
    });
    await runsByEvent(prepared, worker);
    // At least one connection for requests and one for each socket, and none past the proxy.
    expect(proxy.tunnels.length).toBeGreaterThanOrEqual(3);
    expect(new Set(proxy.tunnels)).toEqual(new Set([new URL(gateway.apiUrl).host]));
    expect(gateway.connections).toBeLessThanOrEqual(proxy.tunnels.length);
    expect(proxy.forwarded).toEqual([]);
    for (const headers of proxy.headers) expect(headers.authorization).toBeUndefined();
    expect(worker.stderr).not.toContain("No connection to the events stream");
    expect(worker.stdout + worker.stderr).not.toMatch(/marked-secret|for-the-server/);
    worker.signal("SIGTERM");
    expect(await worker.exited).toEqual({ code: 0, signal: null });
  });

  test("http: goes as whole URLs, ws: through tunnels", async () => {
    await using proxy = await startForwardProxy({ credentials });
    const prepared = await preparePool();
    const apiUrl = inject("apiUrl");
    await using worker = await startWorker(prepared.pool, {
      apiUrl,
      env: { http_proxy: proxy.urlWith(credentials), DEBUG: "*", ...rarePolls },
    });
    await runsByEvent(prepared, worker);
    expect(proxy.forwarded).toContain(`${apiUrl}/work_pools/${prepared.pool}`);
    expect(proxy.forwarded).toContain(`${apiUrl}/work_pools/${prepared.pool}/get_scheduled_flow_runs`);
    expect(proxy.tunnels.length).toBeGreaterThanOrEqual(2);
    expect(new Set(proxy.tunnels)).toEqual(new Set([new URL(apiUrl).host]));
    expect(worker.stderr).not.toContain("No connection to the events stream");
    expect(worker.stdout + worker.stderr).not.toContain("marked-secret");
    worker.signal("SIGTERM");
    expect(await worker.exited).toEqual({ code: 0, signal: null });
  });

  test("an https: proxy is spoken to over TLS, with the same trust", async () => {
    await using gateway = await startTlsGateway(inject("apiUrl"), authority.good);
    await using proxy = await startForwardProxy({ credentials, certificate: authority.good });
    const env = { PREFECT_API_URL: gateway.apiUrl, ALL_PROXY: proxy.urlWith(credentials) };
    const trusting = await runLictor(["version"], { env: { ...env, SSL_CERT_FILE: authority.caFile } });
    expect(trusting.stdout).toMatch(/Server version: +3\./);
    expect(proxy.tunnels).toHaveLength(1);
    const wary = await runLictor(["worker", "start", "--pool", "any"], { env });
    expect(wary.code).toBe(1);
    expect(lines(wary.stderr)).toEqual([
      expect.stringMatching(/the proxy https:.* of ALL_PROXY: .*is not trusted.*PREFECT_API_SSL_CERT_FILE/),
    ]);
  });
});

describe("a proxy that does not let the worker through", () => {
  test.each([
    ["HTTPS_PROXY", "worker:marked-wrong-9c2", /refused the user and password in HTTPS_PROXY \(407\)/],
    ["HTTPS_PROXY", undefined, /asks for credentials \(407\)\. Set HTTPS_PROXY=http:\/\/user:password@host:port/],
    ["http_proxy", "worker:marked-wrong-9c2", /refused the user and password in http_proxy \(407\)/],
    ["http_proxy", undefined, /asks for credentials \(407\)\. Set http_proxy=/],
  ])("because of %s with %s is told in one line", async (variable, given, message) => {
    await using gateway = await startTlsGateway(inject("apiUrl"), authority.good);
    await using proxy = await startForwardProxy({ credentials });
    const env = {
      PREFECT_API_URL: variable === "http_proxy" ? inject("apiUrl") : gateway.apiUrl,
      PREFECT_API_SSL_CERT_FILE: authority.caFile,
      PREFECT_LOGGING_LEVEL: "DEBUG",
      [variable]: given === undefined ? proxy.url : proxy.urlWith(given),
    };
    for (const type of [[], ["--type", "process"]]) {
      const refused = await runLictor(["worker", "start", "--pool", "any", "--log-format", "text", ...type], { env });
      expect(refused.code).toBe(1);
      const own = lines(refused.stderr).filter((line) => !/ \| DEBUG +\| |^ {4}at /.test(line));
      expect(own).toEqual([expect.stringMatching(message)]);
      expect(own[0]).toContain(`the proxy ${proxy.url} of ${variable}`);
      expect(refused.stdout + refused.stderr).not.toMatch(/marked-wrong/);
    }
    expect(proxy.refused).toBe(2);
    expect(proxy.tunnels).toEqual([]);
  });

  test.each([
    [403, /does not let this host and port through \(403\).*NO_PROXY/],
    [503, /could not reach the server \(503\).*NO_PROXY/],
  ])("with %i to CONNECT is not taken for the server", async (status, message) => {
    await using proxy = await startForwardProxy();
    proxy.onConnect = status;
    const { code, stderr } = await runLictor(["worker", "start", "--pool", "any"], {
      env: { PREFECT_API_URL: "https://api.example/api", ALL_PROXY: proxy.url, PREFECT_CLIENT_MAX_RETRIES: "0" },
    });
    expect(code).toBe(1);
    expect(lines(stderr)).toEqual([expect.stringMatching(message)]);
    expect(stderr).not.toMatch(/credentials/);
  });

  test("because it is not there is named", async () => {
    const url = `http://127.0.0.1:${await findFreePort()}`;
    for (const apiUrl of ["https://api.example/api", "http://api.example/api"]) {
      const { code, stderr } = await runLictor(["worker", "start", "--pool", "any"], {
        env: { PREFECT_API_URL: apiUrl, ALL_PROXY: url },
      });
      expect(code).toBe(1);
      expect(lines(stderr)).toEqual([expect.stringContaining(`the proxy ${url} of ALL_PROXY: connect ECONNREFUSED`)]);
    }
  });

  test("because it never answers is a timeout, and holds up no signal", async () => {
    await using proxy = await startForwardProxy();
    proxy.onConnect = "silence";
    const env = { PREFECT_API_URL: "https://api.example/api", ALL_PROXY: proxy.url, PREFECT_CLIENT_MAX_RETRIES: "0" };
    const start = ["worker", "start", "--pool", "any"];
    const timedOut = await runLictor(start, { env: { ...env, PREFECT_API_REQUEST_TIMEOUT: "0.3" } });
    expect(timedOut.code).toBe(1);
    expect(timedOut.stderr).toMatch(/the proxy .* of ALL_PROXY: no answer within 0\.3 s/);
    await using worker = await startLictor(start, { env });
    await waitFor(() => proxy.headers.length === 2, { timeoutMs: 10_000, what: "the second CONNECT" });
    const signalledAt = performance.now();
    worker.signal("SIGTERM");
    expect(await worker.exited).toEqual({ code: 0, signal: null });
    expect(performance.now() - signalledAt).toBeLessThan(3_000);
  });

  test.each([
    ["ALL_PROXY", "socks5://worker:marked-wrong-9c2@127.0.0.1:1080", /^ALL_PROXY: SOCKS proxies are not supported/],
    ["https_proxy", "http://worker:marked-wrong-9c2@host:port", /^https_proxy: not the address of a proxy/],
  ])("because %s is of no use is told in one line", async (variable, text, message) => {
    const { code, stderr } = await runLictor(["worker", "start", "--pool", "any"], {
      env: { PREFECT_API_URL: "https://api.example/api", [variable]: text },
    });
    expect(code).toBe(1);
    expect(lines(stderr)).toEqual([expect.stringMatching(message)]);
    expect(stderr).not.toContain("marked");
  });
});

describe("NO_PROXY", () => {
  test.each([
    ["NO_PROXY", "127.0.0.1"],
    ["no_proxy", "127.0.0.0/8"],
    ["NO_PROXY", "localhost"],
    ["no_proxy", "example,.localhost"],
    ["no_proxy", "*"],
  ])("%s=%s keeps requests and sockets off the proxy", async (variable, text) => {
    await using proxy = await startForwardProxy();
    const host = text.includes("localhost") ? "localhost" : "127.0.0.1";
    const apiUrl = inject("apiUrl").replace("127.0.0.1", host);
    const prepared = await preparePool();
    await using worker = await startWorker(prepared.pool, {
      apiUrl,
      env: { ...rarePolls, HTTP_PROXY: proxy.url, https_proxy: proxy.url, [variable]: text },
    });
    await runsByEvent(prepared, worker);
    expect(proxy.headers).toEqual([]);
  });
});

/** The files of dist/ that a program has loaded, as V8's own account of the scripts it ran tells. */
async function loadedFiles(env: Record<string, string>): Promise<string[]> {
  await using directory = await makeTemporaryDirectory("lictor-coverage-");
  const { stdout } = await runLictor(["version"], {
    env: { PREFECT_API_URL: inject("apiUrl"), NODE_V8_COVERAGE: directory.path, ...env },
  });
  expect(stdout).toMatch(/Server version: +3\./);
  const reports = await Promise.all(
    (await readdir(directory.path)).map(async (file) => await readFile(join(directory.path, file), "utf8")),
  );
  return reports.flatMap((report) =>
    (JSON.parse(report) as { result: { url: string }[] }).result.flatMap(({ url }) => url.split("/dist/")[1] ?? []),
  );
}

test("the proxy library is loaded only when a variable asks for a proxy", async () => {
  await using proxy = await startForwardProxy();
  const isLibrary = (file: string) => file.startsWith("proxy-agent");
  const without = await loadedFiles({});
  expect(without).toContain("lictor.cjs");
  expect(without.filter(isLibrary)).toEqual([]);
  expect((await loadedFiles({ HTTP_PROXY: proxy.url })).filter(isLibrary)).toHaveLength(1);
  expect(proxy.forwarded).toHaveLength(1);
});
