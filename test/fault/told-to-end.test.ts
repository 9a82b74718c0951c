// A worker that is told to end while its server is silent.
import { setTimeout as sleep } from "node:timers/promises";
import { expect, inject, test } from "vitest";
import type { JsonObject } from "../../src/api/wire.ts";
import { deploy, newPool, programCommand, sharedApi } from "../server/deployments.ts";
import { goodDeployment, goodFlow, goodFlowRun } from "../support/api-answers.ts";
import { startReverseProxy } from "../support/reverse-proxy.ts";
import type { ReceivedRequest, ScriptedServer } from "../support/scripted-server.ts";
import { startWorker } from "../support/start-worker.ts";
import { tellTwice } from "../support/tell-twice.ts";
import { waitFor } from "../support/wait-for.ts";
import { startPoolServer, startPoolWorker } from "./scripted-worker.ts";

const id = "00000000-0000-4000-8000-00000000000a";
const scheduledTime = "2020-01-01T00:00:00Z";
const flowRun = { ...(goodFlowRun as JsonObject), id, next_scheduled_start_time: scheduledTime };
const polls = [{ body: [{ work_pool_id: "", work_queue_id: "", flow_run: flowRun }], always: true as const }];
const setState = `POST /api/flow_runs/${id}/set_state`;
const details = { flow_run_id: id, scheduled_time: scheduledTime };
const pending = { type: "PENDING", name: "Pending", message: null, state_details: details };
/** The deployment's command needs no Python. */
const related = {
  [`GET /api/deployments/${goodDeployment.id}`]: [{ body: goodDeployment, always: true as const }],
  [`GET /api/flows/${goodFlow.id}`]: [{ body: goodFlow, always: true as const }],
};
const accepted = { status: 201, body: { status: "ACCEPT", state: pending, details: {} } };

test.concurrent("twice while it claims gives the claim up and ends", async () => {
  await using server = await startPoolServer({
    polls,
    http: { ...related, [setState]: [{ hang: true, always: true }] },
  });
  await using worker = await startPoolWorker(server);
  await waitFor(() => server.requests.some(({ path }) => path.endsWith("/set_state")), {
    timeoutMs: 20_000,
    what: "the claim",
  });
  expect(await tellTwice(worker)).toBeLessThan(20_000);
  expect(await worker.exited).toEqual({ code: 0, signal: null });
});

// The first response still arrives. The second claim is broken off, and the server accepts it afterwards.
test.concurrent.each([3_000, 7_000])(
  "twice gives a claim back that the server accepts %i ms later",
  async (delayMs) => {
    const api = sharedApi();
    const pool = await newPool(api);
    const command = programCommand("report-completed.mjs", "/dev/null");
    const { id } = await api.createFlowRun(await deploy(api, pool, "hello", { jobVariables: { command } }));
    const told = new AbortController();
    const isClaim = ({ path, body }: { path: string; body: string }): boolean =>
      path.endsWith("/set_state") && body.includes('"name":"Pending"');
    await using proxy = await startReverseProxy(inject("apiUrl"), {
      onRequest: async (request) => {
        if (!isClaim(request)) return undefined;
        await new Promise((resolve) => told.signal.addEventListener("abort", resolve));
        await sleep(delayMs);
        return undefined;
      },
    });
    await using worker = await startWorker(pool, { apiUrl: proxy.apiUrl });
    await waitFor(() => proxy.requests.some(isClaim), { timeoutMs: 20_000, what: "the claim" });
    const end = tellTwice(worker);
    await worker.waitForOutput(/Ending all flow runs/, 20_000);
    told.abort();
    expect(await end).toBeLessThan(20_000);
    expect(await worker.exited).toEqual({ code: 0, signal: null });
    const states = await api.readStates(id);
    expect(states.map(({ name }) => name)).toEqual(expect.arrayContaining(["Scheduled", "Pending"]));
    expect((await api.readFlowRun(id)).state_type).toBe("SCHEDULED");
    expect(states.map(({ type }) => type)).not.toContain("RUNNING");
  },
);

test.concurrent("twice recognises a claim that was proposed again after a wait", async () => {
  const wait = { status: 200, body: { status: "WAIT", state: null, details: { delay_seconds: 0.1 } } };
  const proposals = (): ReceivedRequest[] => server.requests.filter(({ path }) => path.endsWith("/set_state"));
  const held = {
    get body() {
      const { state } = JSON.parse(proposals()[1]?.body ?? "") as { state: JsonObject };
      const state_details = { ...(state.state_details as JsonObject), scheduled_time: scheduledTime };
      return { ...flowRun, state_type: "PENDING", state: { ...state, state_details } };
    },
    always: true as const,
  };
  const scheduled = { ...pending, type: "SCHEDULED", name: "Scheduled" };
  // Always, because the worker repeats a report without end. A surplus report shows in the list of proposals below.
  const again = { status: 201, body: { status: "ACCEPT", state: scheduled, details: {} }, always: true as const };
  await using server: ScriptedServer = await startPoolServer({
    polls,
    http: { ...related, [`GET /api/flow_runs/${id}`]: [held], [setState]: [wait, { hang: true }, again] },
  });
  await using worker = await startPoolWorker(server);
  await waitFor(() => proposals().length > 1, { timeoutMs: 20_000, what: "the second proposal" });
  await tellTwice(worker);
  expect(proposals().map(({ body }) => (JSON.parse(body) as { state: JsonObject }).state.type)).toEqual([
    "PENDING",
    "PENDING",
    "SCHEDULED",
  ]);
  // Longer than the limits of all waits, so that a failure shows what the worker printed.
});

test.concurrent("twice while the server lets a claimed flow run wait for a day gives it back", async () => {
  const wait = { status: 200, body: { status: "WAIT", state: null, details: { delay_seconds: 86_400 } } };
  const scheduled = { ...pending, type: "SCHEDULED", name: "Scheduled" };
  const again = { status: 201, body: { status: "ACCEPT", state: scheduled, details: {} } };
  await using server = await startPoolServer({ polls, http: { ...related, [setState]: [accepted, wait, again] } });
  await using worker = await startPoolWorker(server);
  const proposals = (): ReceivedRequest[] => server.requests.filter(({ path }) => path.endsWith("/set_state"));
  await waitFor(() => proposals().length > 1, { timeoutMs: 20_000, what: "Submitting" });
  expect(await tellTwice(worker)).toBeLessThan(10_000);
  const states = proposals().map(({ body }) => (JSON.parse(body) as { state: JsonObject }).state);
  expect(states.map(({ name }) => name)).toEqual(["Pending", "Submitting", "Scheduled"]);
  // The server takes its own time then. The clock of this machine may be ahead.
  expect(states[2]).toMatchObject({ state_details: { scheduled_time: null } });
});

test.concurrent("twice before a claimed flow run is started reports Cancelled if that was cancelled just then", async () => {
  const wait = { status: 200, body: { status: "WAIT", state: null, details: { delay_seconds: 86_400 } } };
  const cancelling = { ...pending, type: "CANCELLING", name: "Cancelling" };
  const refused = { status: 200, body: { status: "REJECT", state: cancelling, details: { reason: "is cancelling" } } };
  const cancelled = { ...pending, type: "CANCELLED", name: "Cancelled" };
  const ended = { status: 201, body: { status: "ACCEPT", state: cancelled, details: {} } };
  const http = { ...related, [setState]: [accepted, wait, refused, ended] };
  await using server = await startPoolServer({ polls, http });
  await using worker = await startPoolWorker(server);
  const proposals = (): ReceivedRequest[] => server.requests.filter(({ path }) => path.endsWith("/set_state"));
  await waitFor(() => proposals().length > 1, { timeoutMs: 20_000, what: "Submitting" });
  await tellTwice(worker);
  const names = proposals().map(({ body }) => (JSON.parse(body) as { state: JsonObject }).state.name);
  expect(names).toEqual(["Pending", "Submitting", "Scheduled", "Cancelled"]);
});

test.concurrent("twice while it has something to report waits for a bounded time and says whose end is not told", async () => {
  const hangs = { hang: true, always: true } as const;
  const http = { ...related, [setState]: [accepted, hangs] };
  await using server = await startPoolServer({ polls, http });
  await using worker = await startPoolWorker(server);
  await waitFor(() => server.requests.filter(({ path }) => path.endsWith("/set_state")).length > 1, {
    timeoutMs: 20_000,
    what: "a second proposal",
  });
  expect(await tellTwice(worker, 90_000)).toBeGreaterThan(50_000);
  expect(await worker.exited).toEqual({ code: 1, signal: null });
  expect(worker.stderr).toContain("could not be told within 60 s how these flow runs ended");
});

/** How long background requests may delay the end, with a reserve for a busy machine. */
const endsWithinMs = 20_000;

async function tellOnce(worker: Awaited<ReturnType<typeof startPoolWorker>>): Promise<number> {
  worker.signal("SIGTERM");
  const toldAt = performance.now();
  await worker.waitForOutput(/Worker 'w' stopped!/, 30_000);
  await Promise.race([worker.exited, sleep(endsWithinMs)]);
  return performance.now() - toldAt;
}

test.concurrent("ends although the labels of a flow run cannot be reported", async () => {
  const always = { always: true } as const;
  const labels = `PATCH /api/flow_runs/${id}/labels`;
  const http = {
    ...related,
    [setState]: [{ ...accepted, ...always }],
    [`PATCH /api/flow_runs/${id}`]: [{ status: 204, ...always }],
    [labels]: [{ status: 500, ...always }],
    [`GET /api/flow_runs/${id}`]: [{ body: { ...flowRun, state_type: "COMPLETED" }, ...always }],
  };
  await using server = await startPoolServer({ polls: [{ body: polls[0]?.body }], http });
  await using worker = await startPoolWorker(server);
  await worker.waitForOutput(/submitted to infrastructure/, 20_000);
  await waitFor(() => server.requests.some(({ method, path }) => `${method} ${path}` === labels), {
    timeoutMs: 20_000,
    what: "the labels",
  });
  expect(await tellOnce(worker)).toBeLessThan(endsWithinMs);
  expect(await worker.exited).toEqual({ code: 0, signal: null });
  expect(worker.stderr + worker.stdout).toContain("labels could not be reported");
});

test.concurrent("ends although an abandoned flow run cannot be read", async () => {
  const always = { always: true } as const;
  const cancelling = { ...flowRun, state_type: "CANCELLING", start_time: null, infrastructure_pid: null };
  const read = `GET /api/flow_runs/${id}`;
  const http = {
    "POST /api/flow_runs/filter": [{ body: [cancelling], ...always }],
    [read]: [{ status: 500, ...always }],
  };
  await using server = await startPoolServer({ http });
  const env = { PREFECT_WORKER_ENABLE_CANCELLATION: "true", PREFECT_WORKER_CANCELLATION_POLL_SECONDS: "1" };
  await using worker = await startPoolWorker(server, env);
  await waitFor(() => server.requests.some(({ method, path }) => `${method} ${path}` === read), {
    timeoutMs: 20_000,
    what: "a look at the abandoned flow run",
  });
  expect(await tellOnce(worker)).toBeLessThan(endsWithinMs);
  expect(await worker.exited).toEqual({ code: 0, signal: null });
});

test.concurrent("ends without an error while two work pools are being created", async () => {
  const hangs = { hang: true, always: true } as const;
  const missing = { status: 404, body: { detail: "Work pool not found" }, always: true } as const;
  const create = "POST /api/work_pools/";
  const http = {
    "GET /api/work_pools/p": [missing],
    "GET /api/work_pools/other": [missing],
    [create]: [hangs],
  };
  await using server = await startPoolServer({ http });
  // Without a Python there would be an error about that.
  const env = { LICTOR_PYTHON: inject("python") };
  await using worker = await startPoolWorker(server, env, ["--pool", "other", "--type", "process"]);
  await waitFor(() => server.requests.filter(({ method, path }) => `${method} ${path}` === create).length === 2, {
    timeoutMs: 20_000,
    what: "the creation of both work pools",
  });
  worker.signal("SIGTERM");
  expect(await worker.exited).toEqual({ code: 0, signal: null });
  expect(worker.stderr).not.toMatch(/ERROR|received SIGTERM/);
});
