// Many requests at once, to a server that leaves some of them without an answer.
import { expect, test } from "vitest";
import { setFlowRunState } from "../../src/api/flow-runs.ts";
import { getScheduledFlowRuns, sendWorkerHeartbeat } from "../../src/api/work-pools.ts";
import { monotonicMs } from "../../src/async/clock.ts";
import { type AnswerStep, startScriptedServer } from "../support/scripted-server.ts";
import { waitFor } from "../support/wait-for.ts";
import { openTestClient, rejectionOf } from "./test-client.ts";

const hang: AnswerStep = { hang: true, always: true };
const query = { workQueueNames: [], scheduledBefore: new Date(0) };
const beat = { name: "w", heartbeat_interval_seconds: 30 };
const accepted: AnswerStep = { body: { status: "ACCEPT", state: null, details: {} } };

test("48 requests without an answer all end when their time is over, those without a connection too", async () => {
  await using server = await startScriptedServer({ http: { "GET /api/thing": [hang] } });
  using api = openTestClient(server.url, { requestTimeoutMs: 1_000, maxRetries: 0 });
  const startedAt = monotonicMs();
  const errors = await Promise.all(Array.from({ length: 48 }, () => rejectionOf(api.request("GET", "/thing"))));
  expect(monotonicMs() - startedAt).toBeLessThan(1_900);
  const codes = errors.map((error) => (error as { code: string }).code).sort();
  expect(codes).toEqual([...Array(32).fill("BUSY_TIMEOUT"), ...Array(16).fill("RESPONSE_TIMEOUT")]);
});

test("polls, heartbeats and state reports do not wait for reads that hang, nor polls for reports", async () => {
  const setState = "POST /api/flow_runs/stuck/set_state";
  const http = {
    "GET /api/thing": [hang],
    [setState]: [hang],
    "POST /api/flow_runs/r/set_state": [accepted],
    "POST /api/work_pools/p/get_scheduled_flow_runs": [{ body: [] }],
    "POST /api/work_pools/p/workers/heartbeat": [{ status: 204 }],
  };
  await using server = await startScriptedServer({ http });
  using api = openTestClient(server.url);
  const stop = new AbortController();
  const proposal = { state: {}, force: false };
  const stuck = [
    ...Array.from({ length: 20 }, () => api.request("GET", "/thing", { signal: stop.signal })),
    ...Array.from({ length: 15 }, () => setFlowRunState(api, "stuck", proposal, { signal: stop.signal })),
  ].map(rejectionOf);
  await waitFor(() => server.requests.length === 31, { timeoutMs: 5_000, what: "requests that hang" });
  expect(await getScheduledFlowRuns(api, "p", query)).toEqual([]);
  await sendWorkerHeartbeat(api, "p", beat);
  expect(await setFlowRunState(api, "r", proposal)).toMatchObject({ status: "ACCEPT" });
  stop.abort();
  await Promise.all(stuck);
});

test("an abort ends a request that waits for a free connection", async () => {
  await using server = await startScriptedServer({ http: { "GET /api/thing": [hang] } });
  using api = openTestClient(server.url, { maxRetries: 0 });
  const stop = new AbortController();
  const others = new AbortController();
  const stuck = Array.from({ length: 16 }, () => rejectionOf(api.request("GET", "/thing", { signal: others.signal })));
  const waiting = rejectionOf(api.request("GET", "/thing", { signal: stop.signal }));
  await waitFor(() => server.requests.length === 16, { timeoutMs: 5_000, what: "requests that hang" });
  const reason = new Error("stopped");
  stop.abort(reason);
  expect(await waiting).toBe(reason);
  others.abort();
  await Promise.all(stuck);
});
