// Which flow runs of dead workers a sweep settles, and of which ones the server cannot say enough.
import { describe, expect, test } from "vitest";
import type { JsonObject } from "../../src/api/wire.ts";
import { aborted } from "../../src/async/sleep.ts";
import { sweepPool } from "../../src/worker/sweep/sweep-pool.ts";
import * as good from "../support/api-answers.ts";
import { type AnswerStep, startScriptedServer } from "../support/scripted-server.ts";
import { waitFor } from "../support/wait-for.ts";
import { openWorker, type TestWorkerOptions, takeFlowRun } from "./channel-worker.ts";

const ID = "00000000-0000-4000-8000-00000000000a";
const at = `/api/flow_runs/${ID}`;
const lostAfterMs = 2_000;
const pool = { id: "pool", name: "p", type: "process", base_job_template: {}, is_paused: false };
const labels = { "lictor.instance": "there-1-00000000", "lictor.host": "there", "prefect.worker.name": "gone" };
const state = { id: "s", type: "RUNNING", name: "Running", message: null };
const flowRun = { id: ID, name: "run", tags: [], labels, state, state_type: "RUNNING", state_name: "Running" };
const event = { total: 1, events: [{ id: "e" }] };

type Steps = Record<string, AnswerStep | AnswerStep[]>;

/** Sweeps the pool of a server that has one lost flow run, except for `steps`. */
async function startSweeping(steps: Steps = {}, options: TestWorkerOptions = {}, intervalMs = 1_000) {
  const always = { always: true } as const;
  const script: Steps = {
    "POST /api/flow_runs/filter": { body: [flowRun] },
    "POST /api/work_pools/p/workers/filter": { body: [{ name: "w", status: "ONLINE" }] },
    "POST /api/events/filter": { body: event },
    "POST /api/logs/filter": { body: [] },
    [`GET ${at}`]: { body: flowRun },
    "GET /api/flow_run_states/": { body: [state] },
    [`POST ${at}/set_state`]: { body: { status: "ACCEPT", state: { ...state, type: "CRASHED" }, details: {} } },
    "GET /api/csrf-token": { status: 404 },
    ...steps,
  };
  const http = Object.fromEntries(
    Object.entries(script).map(([path, step]) => [path, Array.isArray(step) ? step : [{ ...step, ...always }]]),
  );
  const server = await startScriptedServer({ http });
  const { worker, client, records } = openWorker(server.url, { workQueueNames: [], lostAfterMs, ...options });
  worker.pool.current = { ...pool, concurrency_limit: null, status: null };
  const stop = new AbortController();
  const ended = sweepPool(worker, stop.signal, intervalMs);
  const count = (path: string) => server.requests.filter((seen) => `${seen.method} ${seen.path}` === path).length;
  return {
    worker,
    server,
    records,
    sweeps: () => count("POST /api/flow_runs/filter"),
    proposals: (): JsonObject[] =>
      server.requests
        .filter(({ path, method }) => method === "POST" && path === `${at}/set_state`)
        .map(({ body }) => (JSON.parse(body) as { state: JsonObject }).state),
    [Symbol.asyncDispose]: async () => {
      stop.abort();
      await ended;
      client[Symbol.dispose]();
      await server.stop();
    },
  };
}

const limits = { timeoutMs: 30_000, what: "the sweeps" };

describe("a flow run of a dead worker", () => {
  test.concurrent("is settled after the silence, and not before", async () => {
    await using sweeping = await startSweeping();
    await waitFor(() => sweeping.proposals().length > 0, limits);
    const { requests } = sweeping.server;
    const silenceMs = (requests.find(({ path }) => path.endsWith("/set_state"))?.atMs ?? 0) - (requests[0]?.atMs ?? 0);
    expect(silenceMs).toBeGreaterThan(lostAfterMs);
    const message = "Worker 'gone' on host 'there' is gone, and nothing was heard of the flow run for 2 s.";
    expect(sweeping.proposals()[0]).toMatchObject({ type: "CRASHED", message });
    expect(sweeping.server.errors).toEqual([]);
  });

  const pending = { ...flowRun, state: { ...state, type: "PENDING", name: "Pending" }, state_type: "PENDING" };
  const message = "Claimed by worker 'dead' on host 'there' (lictor there-2-00000000).";
  const claimed = { ...pending, state: { ...pending.state, message }, infrastructure_pid: null };
  const found = (body: object): Steps => ({ "POST /api/flow_runs/filter": { body: [body] }, [`GET ${at}`]: { body } });

  test.concurrent("names the worker of the claim and that of the labels, either of which may be the later one", async () => {
    const begun = { ...claimed, infrastructure_pid: "17" };
    await using sweeping = await startSweeping(found(begun));
    await waitFor(() => sweeping.proposals().length > 0, limits);
    expect(sweeping.proposals()[0]?.message).toBe(
      "Worker 'dead' on host 'there' and worker 'gone' on host 'there' are gone, and nothing was heard of the flow run for 2 s.",
    );
  });

  test.concurrent.each([
    ["that began without its process id", { ...pending, infrastructure_pid: null }, "SCHEDULED"],
    ["that has no labels yet", { ...claimed, labels: {} }, "SCHEDULED"],
    ["that has the labels of an earlier claim", claimed, "SCHEDULED"],
    ["that may have begun", { ...pending, infrastructure_pid: "17" }, "CRASHED"],
    [
      "that is Cancelling",
      { ...flowRun, state: { ...state, type: "CANCELLING" }, state_type: "CANCELLING" },
      "CANCELLED",
    ],
    [
      "whose engine waited for its next attempt",
      {
        ...flowRun,
        state: { ...state, type: "SCHEDULED", name: "AwaitingRetry" },
        state_type: "SCHEDULED",
        empirical_policy: { retry_type: "in_process" },
      },
      "CRASHED",
    ],
    [
      "whose worker had the name and the host of this one",
      { ...flowRun, labels: { ...labels, "lictor.host": "host", "prefect.worker.name": "w" } },
      "CRASHED",
    ],
  ])("%s becomes what is true", async (_what, body, type) => {
    await using sweeping = await startSweeping(found(body));
    await waitFor(() => sweeping.proposals().length > 0, limits);
    expect(sweeping.proposals()[0]).toMatchObject({ type });
  });

  test.concurrent.each([
    ["Submitting", "worker", "CRASHED"],
    ["Submitting", "engine", "SCHEDULED"],
    ["Pending", "worker", "SCHEDULED"],
  ])("that is %s, without a process id, and whose %s reports becomes %s", async (name, reporter, type) => {
    const body = {
      ...flowRun,
      ...{ flow_id: good.goodFlow.id, deployment_id: null, infrastructure_pid: null },
      ...{ state: { ...state, type: "PENDING", name }, state_type: "PENDING", state_name: name },
    };
    const base_job_template = { job_configuration: { command: "true", reporter }, variables: { properties: {} } };
    await using sweeping = await startSweeping({
      ...found(body),
      "GET /api/work_pools/p": { body: { ...good.goodWorkPool, base_job_template } },
      [`GET /api/flows/${good.goodFlow.id}`]: { body: good.goodFlow },
    });
    await waitFor(() => sweeping.proposals().length > 0, limits);
    expect(sweeping.proposals()[0]).toMatchObject({ type });
  });

  const others = Array.from({ length: 200 }, (_, index) => ({ name: `w-${index}`, status: "ONLINE" }));
  const cases: [string, Steps, TestWorkerOptions?][] = [
    [
      "whose worker is online",
      { "POST /api/work_pools/p/workers/filter": { body: [{ name: "gone", status: "ONLINE" }] } },
    ],
    ["whose worker may be on another page of the list", { "POST /api/work_pools/p/workers/filter": { body: others } }],
    ["whose workers cannot be listed", { "POST /api/work_pools/p/workers/filter": { status: 403, body: {} } }],
    ["whose program is alive on this machine", {}, { livingInstances: ["there-1-00000000"] }],
    [
      "that is scheduled again under the name of a retry",
      found({ ...flowRun, state: { ...state, type: "SCHEDULED", name: "AwaitingRetry" }, state_type: "SCHEDULED" }),
    ],
    ["whose claim names a living program", found(claimed), { livingInstances: ["there-2-00000000"] }],
    [
      "that a living worker has adopted",
      {
        ...found({ ...claimed, labels: { ...labels, "prefect.worker.name": "adopter" } }),
        "POST /api/work_pools/p/workers/filter": { body: [{ name: "adopter", status: "ONLINE" }] },
      },
    ],
    ["without labels", found({ ...flowRun, labels: { "prefect.worker.name": "gone" } })],
    ["whose events are not stored", { "POST /api/events/filter": { body: { total: 0, events: [] } } }],
    ["whose events cannot be read", { "POST /api/events/filter": { status: 403, body: {} } }],
    ["whose log records cannot be read", { "POST /api/logs/filter": { status: 422, body: {} } }],
    [
      "that runs and never sent a heartbeat",
      { "POST /api/events/filter": Array.from({ length: 99 }, (_, i) => ({ body: i % 2 ? { events: [] } : event })) },
    ],
    [
      "of which new events come",
      { "POST /api/events/filter": Array.from({ length: 99 }, (_, i) => ({ body: { ...event, total: i } })) },
    ],
    [
      "of which new log records come",
      { "POST /api/logs/filter": Array.from({ length: 99 }, (_, i) => ({ body: [{ id: `${i}` }] })) },
    ],
    ["that has another state by then", { [`GET ${at}`]: { body: { ...flowRun, state: { ...state, id: "later" } } } }],
    [
      "that another program has by then",
      { [`GET ${at}`]: { body: { ...flowRun, labels: { ...labels, "lictor.instance": "there-2" } } } },
    ],
  ];
  test.concurrent.each(cases)("%s is left as it is", async (_what, steps, options = {}) => {
    await using sweeping = await startSweeping(steps, options);
    // A lost flow run is settled by the fourth.
    await waitFor(() => sweeping.sweeps() >= 7, limits);
    expect(sweeping.proposals()).toEqual([]);
  });

  test.concurrent("is left to the worker that has it in its hands", async () => {
    await using sweeping = await startSweeping();
    const over = new AbortController();
    takeFlowRun(sweeping.worker, ID, async () => await aborted(over.signal));
    await waitFor(() => sweeping.sweeps() >= 7, limits);
    expect(sweeping.proposals()).toEqual([]);
    over.abort();
  });

  test.concurrent("gets the whole time again after a sweep that failed", async () => {
    const page = { body: [flowRun] };
    const pages: AnswerStep[] = [page, { status: 403, body: {} }, { ...page, always: true }];
    await using sweeping = await startSweeping({ "POST /api/flow_runs/filter": pages });
    await waitFor(() => sweeping.proposals().length > 0, limits);
    // The watch begins again with the third sweep, and two more are the least that a silence takes.
    expect(sweeping.sweeps()).toBeGreaterThanOrEqual(5);
  });
});

test("a sweep that the server could not answer is soon repeated", async () => {
  const answers: AnswerStep[] = [
    { status: 500, body: {} },
    { body: [], always: true },
  ];
  await using sweeping = await startSweeping({ "POST /api/flow_runs/filter": answers }, {}, 300_000);
  await waitFor(() => sweeping.sweeps() === 2, limits);
});

test("an idle pool costs one request per sweep", async () => {
  await using sweeping = await startSweeping({ "POST /api/flow_runs/filter": { body: [] } });
  await waitFor(() => sweeping.sweeps() > 0, limits);
  expect(sweeping.server.requests.map(({ path }) => path).filter((path) => path !== "/api/csrf-token")).toEqual([
    "/api/flow_runs/filter",
  ]);
  expect(JSON.parse(sweeping.server.requests.at(-1)?.body ?? "")).toEqual({
    flow_runs: {
      state: {
        operator: "or_",
        type: { any_: ["PENDING", "RUNNING", "CANCELLING"] },
        name: { any_: ["AwaitingRetry"] },
      },
    },
    work_pools: { name: { any_: ["p"] } },
    sort: "START_TIME_ASC",
    limit: 200,
    offset: 0,
  });
});
