// The CSRF token before a write: fetched once, given up where the server has none, fetched anew when it is refused.
import { describe, expect, test } from "vitest";
import { setFlowRunState } from "../../src/api/flow-runs.ts";
import { getScheduledFlowRuns, sendWorkerHeartbeat } from "../../src/api/work-pools.ts";
import { monotonicMs } from "../../src/async/clock.ts";
import { type AnswerStep, type ScriptedServer, startScriptedServer } from "../support/scripted-server.ts";
import { waitFor } from "../support/wait-for.ts";
import { openTestClient, rejectionOf } from "./test-client.ts";

const fine: AnswerStep = { body: {} };
const atOnce = { "Retry-After": "0" };

function token(value: string, expiration = "2999-01-01T00:00:00Z"): AnswerStep {
  return { body: { token: value, client: "any", expiration } };
}

function startServer(tokens: AnswerStep[], writes: AnswerStep[]): Promise<ScriptedServer> {
  return startScriptedServer({ http: { "GET /api/csrf-token": tokens, "POST /api/thing": writes } });
}

const open = (server: ScriptedServer) => openTestClient(server.url, { csrfEnabled: true, maxRetries: 1 });

const calls = ({ requests }: ScriptedServer) => requests.map(({ method, path }) => `${method} ${path}`);

const tokensSent = ({ requests }: ScriptedServer) =>
  requests.filter(({ method }) => method === "POST").map(({ headers }) => headers["prefect-csrf-token"]);

describe("the token", () => {
  test("is fetched once for writes at the same time and kept for later ones", async () => {
    await using server = await startServer([token("first")], [{ ...fine, always: true }]);
    using api = open(server);
    await Promise.all([1, 2, 3].map((n) => api.request("POST", "/thing", { body: { n } })));
    await api.request("POST", "/thing", { body: {} });
    expect(calls(server).filter((call) => call === "GET /api/csrf-token")).toHaveLength(1);
    expect(tokensSent(server)).toEqual(["first", "first", "first", "first"]);
    const clients = new Set(server.requests.slice(1).map(({ headers }) => headers["prefect-csrf-client"]));
    expect([...clients]).toEqual([expect.stringMatching(/^[0-9a-f-]{36}$/)]);
  });

  test("is not asked for by reads, nor on Cloud", async () => {
    const http = { "GET /api/thing": [fine], "POST /api/thing": [fine] };
    await using server = await startScriptedServer({ http });
    using api = open(server);
    await api.request("GET", "/thing");
    using cloud = openTestClient(server.url, { csrfEnabled: true, isCloud: true });
    await cloud.request("POST", "/thing", { body: {} });
    expect(calls(server)).toEqual(["GET /api/thing", "POST /api/thing"]);
  });

  test("is fetched again once it has expired", async () => {
    const tokens = [token("old", new Date(Date.now() - 1000).toISOString()), token("new")];
    await using server = await startServer(tokens, [{ ...fine, always: true }]);
    using api = open(server);
    await api.request("POST", "/thing", { body: {} });
    await api.request("POST", "/thing", { body: {} });
    expect(tokensSent(server)).toEqual(["old", "new"]);
  });

  test.each([
    ["says that CSRF protection is disabled", { status: 422, body: { detail: "CSRF protection is disabled." } }],
    ["does not know the route", { status: 404 }],
  ])("is given up when the server %s", async (_what, answer) => {
    await using server = await startServer([answer], [{ ...fine, always: true }]);
    using api = open(server);
    await api.request("POST", "/thing", { body: {} });
    await api.request("POST", "/thing", { body: {} });
    expect(calls(server)).toEqual(["GET /api/csrf-token", "POST /api/thing", "POST /api/thing"]);
    expect(tokensSent(server)).toEqual([undefined, undefined]);
  });
});

describe("trouble", () => {
  test("a refused token is replaced and the write repeated", async () => {
    const refused = { status: 403, headers: atOnce, body: { detail: "Invalid CSRF token or client identifier." } };
    await using server = await startServer([token("stale"), token("new")], [refused, fine]);
    using api = open(server);
    await api.request("POST", "/thing", { body: {} });
    expect(tokensSent(server)).toEqual(["stale", "new"]);
    expect(server.errors).toEqual([]);
  });

  test("tokens that are always refused end after the retries", async () => {
    const refused = { status: 403, headers: atOnce, body: { detail: "Invalid CSRF token" }, always: true as const };
    await using server = await startServer([{ ...token("bad"), always: true }], [refused]);
    using api = open(server);
    expect(await rejectionOf(api.request("POST", "/thing", { body: {} }))).toMatchObject({ status: 403 });
    expect(tokensSent(server)).toEqual(["bad", "bad"]);
  });

  test("any other 403 is not repeated", async () => {
    await using server = await startServer([token("good")], [{ status: 403, body: { detail: "Missing CSRF token." } }]);
    using api = open(server);
    expect(await rejectionOf(api.request("POST", "/thing", { body: {} }))).toMatchObject({ status: 403 });
    expect(tokensSent(server)).toEqual(["good"]);
  });

  test("a 503 on the token itself is repeated before the write is sent", async () => {
    await using server = await startServer([{ status: 503, headers: atOnce }, token("late")], [fine]);
    using api = open(server);
    await api.request("POST", "/thing", { body: {} });
    expect(calls(server)).toEqual(["GET /api/csrf-token", "GET /api/csrf-token", "POST /api/thing"]);
    expect(tokensSent(server)).toEqual(["late"]);
  });

  test.each([401, 500])(
    "a %i to the request for it is the write's own, which is not sent without it",
    async (status) => {
      await using server = await startServer([{ status, body: { detail: "no" } }], []);
      using api = open(server);
      expect(await rejectionOf(api.request("POST", "/thing", { body: {} }))).toMatchObject({ method: "POST", status });
      expect(calls(server)).toEqual(["GET /api/csrf-token"]);
    },
  );

  test("an error of the server with the token does not end what is repeated without end", async () => {
    await using server = await startServer([{ status: 500 }, token("late")], [fine]);
    using api = open(server);
    expect(await api.request("POST", "/thing", { body: {}, endless: true })).toEqual({});
    expect(tokensSent(server)).toEqual(["late"]);
  });

  test("a write that is stopped while it waits for the token does not take others with it", async () => {
    const stop = new AbortController();
    await using server = await startServer([{ hang: true }, token("late")], [{ ...fine, always: true }]);
    using api = open(server);
    const stopped = rejectionOf(api.request("POST", "/thing", { body: { stopped: true }, signal: stop.signal }));
    await waitFor(() => server.requests.length === 1, { timeoutMs: 5_000, what: "the token request", intervalMs: 5 });
    const other = api.request("POST", "/thing", { body: { stopped: false } });
    const reason = new Error("stopped");
    stop.abort(reason);
    expect(await stopped).toBe(reason);
    expect(await other).toEqual({});
    expect(server.requests.filter(({ method }) => method === "POST").map(({ body }) => body)).toEqual([
      '{"stopped":false}',
    ]);
  });

  test("a write that is stopped while another one fetches the token ends at once", async () => {
    const stop = new AbortController();
    await using server = await startServer([{ hang: true }], []);
    using api = open(server);
    const first = rejectionOf(api.request("POST", "/thing", { body: {} }));
    await waitFor(() => server.requests.length === 1, { timeoutMs: 5_000, what: "the token request", intervalMs: 5 });
    const second = rejectionOf(api.request("POST", "/thing", { body: {}, signal: stop.signal }));
    const reason = new Error("stopped");
    stop.abort(reason);
    expect(await Promise.race([second, first])).toBe(reason);
    expect(calls(server)).toEqual(["GET /api/csrf-token"]);
    await server.stop();
    await first;
  });
});

describe("a token request without a response", () => {
  const hang: AnswerStep = { hang: true };
  const query = { workQueueNames: [], scheduledBefore: new Date(0) };
  const beat = { name: "w", heartbeat_interval_seconds: 30 };
  const proposal = { state: {}, force: false };
  const routes = {
    "POST /api/work_pools/p/get_scheduled_flow_runs": [{ body: [] }],
    "POST /api/work_pools/p/workers/heartbeat": [{ status: 204 }],
    "POST /api/flow_runs/r/set_state": [{ body: { status: "ACCEPT", state: null, details: {} } }],
  };

  test("is repeated on a new connection, so that no write waits for it", async () => {
    const http = { ...routes, "GET /api/csrf-token": [hang, token("late")] };
    await using server = await startScriptedServer({ http });
    using api = openTestClient(server.url, { csrfEnabled: true, requestTimeoutMs: 60_000 });
    const startedAt = monotonicMs();
    await Promise.all([
      getScheduledFlowRuns(api, "p", query),
      sendWorkerHeartbeat(api, "p", beat),
      setFlowRunState(api, "r", proposal),
    ]);
    expect(monotonicMs() - startedAt).toBeLessThan(20_000);
    expect(tokensSent(server)).toEqual(["late", "late", "late"]);
  });

  test("takes its time from that of the write", async () => {
    const tokens = [{ ...token("slow"), delayMs: 1_500 }, hang];
    await using server = await startServer(tokens, [{ hang: true, always: true }]);
    using api = openTestClient(server.url, { csrfEnabled: true, requestTimeoutMs: 2_000, maxRetries: 0 });
    const startedAt = monotonicMs();
    const error = await rejectionOf(api.request("POST", "/thing", { body: {} }));
    expect(monotonicMs() - startedAt).toBeLessThan(3_000);
    expect(error).toMatchObject({ code: "RESPONSE_TIMEOUT" });
    expect(tokensSent(server)).toEqual(["slow"]);
  });

  test("ends with the time of each write that waits for it", async () => {
    await using server = await startServer([{ hang: true, always: true }], []);
    using api = openTestClient(server.url, { csrfEnabled: true, requestTimeoutMs: 500, maxRetries: 0 });
    const error = await rejectionOf(api.request("POST", "/thing", { body: {} }));
    expect(error).toMatchObject({ message: expect.stringContaining("no CSRF token within 0.5 s") });
  });

  test("does not begin with the wait of its first write for a connection", async () => {
    const http = {
      ...routes,
      "GET /api/thing": [{ ...hang, always: true as const }],
      "GET /api/csrf-token": [token("t")],
    };
    await using server = await startScriptedServer({ http });
    using api = openTestClient(server.url, { csrfEnabled: true, maxRetries: 0 });
    const stop = new AbortController();
    const { signal } = stop;
    const stuck = Array.from({ length: 16 }, () => rejectionOf(api.request("GET", "/thing", { signal })));
    await waitFor(() => server.requests.length === 16, { timeoutMs: 5_000, what: "requests that hang" });
    stuck.push(rejectionOf(api.request("POST", "/thing", { body: {}, signal })));
    const startedAt = monotonicMs();
    await sendWorkerHeartbeat(api, "p", beat);
    expect(monotonicMs() - startedAt).toBeLessThan(8_000);
    stop.abort();
    await Promise.all(stuck);
  });
});
