// Which answers the API client asks for again, how often, and after how long.
import { describe, expect, test } from "vitest";
import { ApiError } from "../../src/api/errors.ts";
import { delayMs, isRetryable, parseRetryAfterMs } from "../../src/api/retry.ts";
import { wallClockMs } from "../../src/async/clock.ts";
import { type AnswerStep, type ScriptedServer, startScriptedServer } from "../support/scripted-server.ts";
import { waitFor } from "../support/wait-for.ts";
import { capturedLog, countingRandom, messagesFrom, openTestClient, rejectionOf } from "./test-client.ts";

const atOnce = { "Retry-After": "0" };
const fine: AnswerStep = { body: { fine: true } };

function startAnswering(...steps: AnswerStep[]): Promise<ScriptedServer> {
  return startScriptedServer({ http: { "GET /api/thing": steps, "POST /api/thing": steps } });
}

/** Milliseconds between the arrivals of the first two requests. */
function gapMs({ requests }: ScriptedServer): number {
  return (requests[1]?.atMs ?? Number.NaN) - (requests[0]?.atMs ?? Number.NaN);
}

// A timer may fire a little early by another clock.
const clockToleranceMs = 10;

describe("answers that may be better the next time", () => {
  test("a 503 is asked for again after half a second", async () => {
    await using server = await startAnswering({ status: 503 }, fine);
    using api = openTestClient(server.url, { jitter: 0 });
    expect(await api.request("GET", "/thing")).toEqual({ fine: true });
    expect(server.requests).toHaveLength(2);
    expect(gapMs(server)).toBeGreaterThanOrEqual(500 - clockToleranceMs);
  });

  test.each([408, 429, 502, 503])("a %i to a write is repeated with the same body", async (status) => {
    await using server = await startAnswering({ status, headers: atOnce }, fine);
    using api = openTestClient(server.url);
    expect(await api.request("POST", "/thing", { body: { a: 1 } })).toEqual({ fine: true });
    expect(server.requests.map(({ body }) => body)).toEqual(['{"a":1}', '{"a":1}']);
  });

  test("a status of PREFECT_CLIENT_RETRY_EXTRA_CODES is repeated", async () => {
    await using server = await startAnswering({ status: 418, headers: atOnce }, fine);
    using api = openTestClient(server.url, { retryExtraCodes: new Set([418]) });
    expect(await api.request("GET", "/thing")).toEqual({ fine: true });
    expect(server.requests).toHaveLength(2);
  });

  test.each([400, 401, 404, 409, 418, 500, 504])("a %i is an error at once", async (status) => {
    await using server = await startAnswering({ status, headers: atOnce, always: true });
    using api = openTestClient(server.url);
    expect(await rejectionOf(api.request("GET", "/thing"))).toMatchObject({ name: "ApiError", status });
    expect(server.requests).toHaveLength(1);
  });

  test("after the last retry the answer is an error with the server's own words", async () => {
    const body = { detail: "database is locked" };
    await using server = await startAnswering({ status: 503, headers: atOnce, body, always: true });
    using api = openTestClient(server.url, { maxRetries: 2 });
    const error = await rejectionOf(api.request("GET", "/thing"));
    expect(error).toBeInstanceOf(ApiError);
    expect((error as ApiError).message).toBe("GET /thing: 503 database is locked.");
    expect(server.requests).toHaveLength(3);
  });

  test("an endless request outlasts its retries, on any 5xx", async () => {
    const steps = [500, 503, 500, 503].map((status) => ({ status, headers: atOnce }));
    await using server = await startAnswering(...steps, fine);
    using api = openTestClient(server.url, { maxRetries: 0 });
    expect(await api.request("GET", "/thing", { endless: true })).toEqual({ fine: true });
    expect(server.requests).toHaveLength(5);
  });
});

describe("a wait that the server asks for", () => {
  test("Retry-After in seconds is waited for in full", async () => {
    await using server = await startAnswering({ status: 429, headers: { "Retry-After": "1" } }, fine);
    using api = openTestClient(server.url, { jitter: 0 });
    await api.request("GET", "/thing");
    expect(gapMs(server)).toBeGreaterThanOrEqual(1000 - clockToleranceMs);
    expect(gapMs(server)).toBeLessThan(2000);
  });

  test("Retry-After as an HTTP date is waited for", async () => {
    // HTTP dates have whole seconds: this is 0.8 to 1.8 s away, more than the half second without the header.
    const notBefore = Math.ceil((Date.now() + 800) / 1000) * 1000;
    const headers = { "Retry-After": new Date(notBefore).toUTCString() };
    await using server = await startAnswering({ status: 503, headers }, fine);
    using api = openTestClient(server.url, { jitter: 0 });
    await api.request("GET", "/thing");
    const repeatedAt = performance.timeOrigin + (server.requests[1]?.atMs ?? Number.NaN);
    expect(repeatedAt).toBeGreaterThanOrEqual(notBefore - clockToleranceMs);
  });

  test("jitter only makes the wait that was asked for longer", async () => {
    await using server = await startAnswering({ status: 429, headers: { "Retry-After": "1" } }, fine);
    using api = openTestClient(server.url, { jitter: 0.2, random: () => 1 });
    await api.request("GET", "/thing");
    expect(gapMs(server)).toBeGreaterThanOrEqual(1200 - clockToleranceMs);
  });

  test("a Retry-After that is no time is ignored", async () => {
    const waits = countingRandom();
    await using server = await startAnswering({ status: 503, headers: { "Retry-After": "soon" } }, fine);
    using api = openTestClient(server.url, { random: waits.random });
    await api.request("GET", "/thing");
    expect(gapMs(server)).toBeGreaterThanOrEqual(400);
    expect(waits.draws).toBe(1);
  });
});

test.each([
  ["0", 0],
  ["120", 120_000],
  ["86400", 300_000],
  [new Date(wallClockMs() + 86_400_000).toUTCString(), 300_000],
])("a pause of Retry-After: %s lasts five minutes at most", (header, expectedMs) => {
  expect(delayMs(1, parseRetryAfterMs(header, wallClockMs()), 0, () => 0.5)).toBe(expectedMs);
});

test("a long pause is one warning, however many requests are to wait", async () => {
  const captured = capturedLog();
  const stop = new AbortController();
  await using server = await startAnswering({ status: 503, headers: { "Retry-After": "86400" }, always: true });
  using api = openTestClient(server.url, { log: captured.log, jitter: 0 });
  const pending = ["GET", "GET", "POST"].map((method) =>
    rejectionOf(api.request(method, "/thing", { signal: stop.signal })),
  );
  const repeats = () => captured.records.filter(({ msg }) => msg === "request failed, will be repeated");
  await waitFor(() => repeats().length === 3, { timeoutMs: 5_000, what: "three pauses", intervalMs: 5 });
  expect(messagesFrom(40, captured)).toEqual([
    "GET /thing: the server asks for a pause of 86400 s (Retry-After). lictor asks again in 300 s.",
  ]);
  stop.abort();
  await Promise.all(pending);
});

test("answers that announce maintenance use up no retry", async () => {
  const maintenance = { status: 503, headers: { ...atOnce, "Prefect-Maintenance": "true" } };
  await using server = await startAnswering(maintenance, maintenance, maintenance, fine);
  using api = openTestClient(server.url, { maxRetries: 0 });
  expect(await api.request("GET", "/thing")).toEqual({ fine: true });
  expect(server.requests).toHaveLength(4);
});

test("an abort ends a pending back-off at once", async () => {
  const waits = countingRandom();
  const stop = new AbortController();
  await using server = await startAnswering({ status: 503, headers: { "Retry-After": "3600" }, always: true });
  using api = openTestClient(server.url, { random: waits.random });
  const rejection = rejectionOf(api.request("GET", "/thing", { signal: stop.signal }));
  await waitFor(() => waits.draws === 1, { timeoutMs: 5_000, what: "the back-off to begin", intervalMs: 5 });
  const reason = new Error("stopped");
  stop.abort(reason);
  expect(await rejection).toBe(reason);
  expect(server.requests).toHaveLength(1);
});

describe("what is repeated without end", () => {
  test("is so after a 404 that is not the API's, as a proxy answers while its server restarts", async () => {
    await using server = await startAnswering({ status: 404, body: "404 page not found" }, fine);
    using api = openTestClient(server.url);
    expect(await api.request("GET", "/thing", { endless: true })).toEqual({ fine: true });
  });

  test("is not after a 404 of the API", async () => {
    await using server = await startAnswering({ status: 404, body: { detail: "Flow run not found" } });
    using api = openTestClient(server.url);
    expect(await rejectionOf(api.request("GET", "/thing", { endless: true }))).toMatchObject({ status: 404 });
  });
});

test.each(["ECONNREFUSED", "ENOTFOUND", "DEPTH_ZERO_SELF_SIGNED_CERT", "ERR_TLS_CERT_ALTNAME_INVALID"])(
  "%s is an error at once on the first contact, and a restart later",
  (code) => {
    expect(isRetryable({ kind: "unreachable", code }, false, new Set())).toBe(false);
    expect(isRetryable({ kind: "unreachable", code }, true, new Set())).toBe(true);
  },
);

test("an API under maintenance is waited for, and the time of its last word on that is known", async () => {
  const maintenance = { status: 503, headers: { ...atOnce, "Prefect-Maintenance": "true" } };
  await using server = await startAnswering(maintenance, maintenance, fine);
  using api = openTestClient(server.url, { maxRetries: 0 });
  const before = performance.now();
  expect(await api.request("GET", "/thing")).toEqual({ fine: true });
  expect(api.maintenanceAt).toBeGreaterThanOrEqual(before);
});
