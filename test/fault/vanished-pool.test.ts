// A work pool that is deleted while a flow run of it is being taken: the flow run is executed with the pool as it was.
import { randomUUID } from "node:crypto";
import { expect, test } from "vitest";
import type { JsonObject } from "../../src/api/wire.ts";
import { goodDeployment, goodFlow, goodFlowRun } from "../support/api-answers.ts";
import type { ReceivedRequest, Script, ScriptedServer } from "../support/scripted-server.ts";
import { waitFor } from "../support/wait-for.ts";
import { pollTimes, pool, startPoolServer, startPoolWorker } from "./scripted-worker.ts";

const always = { always: true } as const;
/** Some heartbeat intervals, so that the worker reads the work pool meanwhile. */
const delayMs = 5_000;
const env = { PREFECT_WORKER_HEARTBEAT_SECONDS: "1", PREFECT_LOGGING_TO_API_ENABLED: "false" };
const args = ["--no-create-pool-if-not-found"];

/** Requests about one flow run, and about its pool, which is gone as soon as `isGone` says so. */
function answersFor(id: string, isGone: () => boolean): Required<Script>["http"] {
  const scheduled_time = "2020-01-01T00:00:00Z";
  const state = { type: "PENDING", name: "Pending", message: null, state_details: { flow_run_id: id, scheduled_time } };
  const accepted = { status: 201, body: { status: "ACCEPT", state, details: {} } };
  const ended = { ...(goodFlowRun as JsonObject), id, state_type: "COMPLETED", state: null };
  const current = {
    get status() {
      return isGone() ? 404 : 200;
    },
    get body() {
      return isGone() ? { detail: "Work pool not found." } : pool;
    },
    ...always,
  };
  return {
    "GET /api/work_pools/p": [current],
    // Without events, the worker looks for cancellations.
    "POST /api/flow_runs/filter": [{ body: [], ...always }],
    [`GET /api/deployments/${goodDeployment.id}`]: [
      { body: { ...goodDeployment, job_variables: { command: "sh -c 'echo plain; sleep 1'" } }, ...always },
    ],
    [`GET /api/flows/${goodFlow.id}`]: [{ body: goodFlow, ...always }],
    [`POST /api/flow_runs/${id}/set_state`]: [accepted, { ...accepted, delayMs }],
    [`GET /api/flow_runs/${id}`]: [{ body: ended, ...always }],
    [`PATCH /api/flow_runs/${id}`]: [{ status: 204, ...always }],
    [`PATCH /api/flow_runs/${id}/labels`]: [{ status: 204, ...always }],
  };
}

const polled = (id: string): JsonObject[] => [
  {
    work_pool_id: pool.id,
    work_queue_id: "",
    flow_run: { ...(goodFlowRun as JsonObject), id, next_scheduled_start_time: "2020-01-01T00:00:00Z" },
  },
];

const sent = ({ requests }: ScriptedServer, method: string, end: string): ReceivedRequest[] =>
  requests.filter((request) => request.method === method && request.path.endsWith(end));

/** Waits for the end of the flow run and of the worker. Then looks at what the server was sent. */
async function expectExecuted(server: ScriptedServer, worker: Awaited<ReturnType<typeof startPoolWorker>>) {
  await worker.waitForOutput(/^plain$/m, 30_000);
  await waitFor(() => sent(server, "PATCH", "/labels").length > 0, { timeoutMs: 20_000, what: "the labels" });
  worker.signal("SIGTERM");
  expect(await worker.exited).toEqual({ code: 0, signal: null });
  const [labels] = sent(server, "PATCH", "/labels");
  expect(JSON.parse(labels?.body ?? "")).toMatchObject({ "prefect.work-pool.id": pool.id });
  const events = sent(server, "POST", "/events").flatMap(({ body }) => JSON.parse(body) as JsonObject[]);
  expect(events.find(({ event }) => event === "prefect.worker.executed-flow-run")).toMatchObject({
    related: expect.arrayContaining([
      expect.objectContaining({ "prefect.infrastructure.status-code": "0" }),
      expect.objectContaining({ "prefect.resource.id": `prefect.work-pool.${pool.id}` }),
    ]),
  });
  // Nothing but Pending and Submitting was proposed.
  expect(sent(server, "POST", "/set_state")).toHaveLength(2);
  expect(server.errors).toEqual([]);
}

test("between a flow run's Submitting and its start, it is started, watched and reported", async () => {
  const id = randomUUID();
  const isGone = (): boolean => sent(server, "POST", "/set_state").length > 1;
  await using server: ScriptedServer = await startPoolServer({
    polls: [{ body: polled(id) }],
    http: answersFor(id, isGone),
  });
  await using worker = await startPoolWorker(server, env, args);
  await worker.waitForOutput(/Work pool 'p' not found!/, 20_000);
  expect(worker.stdout + worker.stderr).not.toContain("submitted to infrastructure");
  await expectExecuted(server, worker);
});

test("during the poll that returns a flow run, it is taken", async () => {
  const id = randomUUID();
  await using server: ScriptedServer = await startPoolServer({
    // A late poll is sent once more, and the first response counts.
    polls: [{ body: polled(id), delayMs, ...always }],
    http: answersFor(id, () => pollTimes(server).length > 0),
  });
  await using worker = await startPoolWorker(server, env, args);
  await worker.waitForOutput(/Work pool 'p' not found!/, 20_000);
  expect(worker.stdout + worker.stderr).not.toContain("submitting flow run");
  await expectExecuted(server, worker);
});
