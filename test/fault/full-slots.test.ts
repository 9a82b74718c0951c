// What a worker without a free slot does about events: nothing but to remember that there is work.
import { randomUUID } from "node:crypto";
import { expect, test } from "vitest";
import type { JsonObject } from "../../src/api/wire.ts";
import { goodDeployment, goodFlow, goodFlowRun } from "../support/api-answers.ts";
import type { AnswerStep } from "../support/scripted-server.ts";
import type { ScriptedSocket } from "../support/scripted-socket.ts";
import { waitFor } from "../support/wait-for.ts";
import { pollTimes, startPoolServer, startPoolWorker } from "./scripted-worker.ts";

const soon = { timeoutMs: 20_000, intervalMs: 20 };
const scheduledTime = "2020-01-01T00:00:00Z";

const scheduledEvent = (flowRunId: string): JsonObject => ({
  type: "event",
  event: {
    id: randomUUID(),
    occurred: new Date().toISOString(),
    event: "prefect.flow-run.Scheduled",
    resource: {
      "prefect.resource.id": `prefect.flow-run.${flowRunId}`,
      "prefect.state-type": "SCHEDULED",
      "prefect.state-name": "Scheduled",
    },
    related: [],
    payload: {},
    follows: null,
  },
});

test("a flow run that becomes due while no slot is free is taken when the slot is free", async () => {
  const [first, second] = [randomUUID(), randomUUID()];
  const dueLater = new Date(Date.now() + 3_000).toISOString();
  const toPoll = (id: string, time: string): JsonObject => ({
    work_pool_id: "",
    work_queue_id: "",
    flow_run: { ...(goodFlowRun as JsonObject), id, next_scheduled_start_time: time },
  });
  const always = { always: true } as const;
  const answersFor = (id: string, time: string): [string, AnswerStep[]][] => {
    const details = { flow_run_id: id, scheduled_time: time };
    const state = { type: "PENDING", name: "Pending", message: null, state_details: details };
    const ended = { ...(goodFlowRun as JsonObject), id, state_type: "COMPLETED", state: null };
    return [
      [
        `POST /api/flow_runs/${id}/set_state`,
        [{ status: 201, body: { status: "ACCEPT", state, details: {} }, ...always }],
      ],
      [`GET /api/flow_runs/${id}`, [{ body: ended, ...always }]],
      [`PATCH /api/flow_runs/${id}`, [{ status: 204, ...always }]],
      [`PATCH /api/flow_runs/${id}/labels`, [{ status: 204, ...always }]],
    ];
  };
  await using server = await startPoolServer({
    polls: [
      { body: [toPoll(first, scheduledTime), toPoll(second, dueLater)] },
      { body: [toPoll(second, dueLater)], always: true },
    ],
    http: {
      [`GET /api/deployments/${goodDeployment.id}`]: [
        { body: { ...goodDeployment, job_variables: { command: "sleep 1" } }, ...always },
      ],
      [`GET /api/flows/${goodFlow.id}`]: [{ body: goodFlow, ...always }],
      ...Object.fromEntries([...answersFor(first, scheduledTime), ...answersFor(second, dueLater)]),
    },
  });
  const env = { PREFECT_WORKER_QUERY_SECONDS: "60", PREFECT_WORKER_PREFETCH_SECONDS: "0" };
  await using worker = await startPoolWorker(server, env, ["--limit", "1"]);
  await worker.waitForOutput(new RegExp(`submitting flow run '${first}'`), 20_000);
  await worker.waitForOutput(new RegExp(`submitting flow run '${second}'`), 20_000);
});

test("events that come while no slot is free cause no polls, and the free slot causes one at once", async () => {
  const id = randomUUID();
  const flowRun = { ...(goodFlowRun as JsonObject), id, next_scheduled_start_time: scheduledTime };
  const details = { flow_run_id: id, scheduled_time: scheduledTime };
  const pending = { type: "PENDING", name: "Pending", message: null, state_details: details };
  let events: ScriptedSocket | undefined;
  await using server = await startPoolServer({
    polls: [{ body: [{ work_pool_id: "", work_queue_id: "", flow_run: flowRun }] }],
    http: {
      [`GET /api/deployments/${goodDeployment.id}`]: [
        { body: { ...goodDeployment, job_variables: { command: "sleep 3" } }, always: true },
      ],
      [`GET /api/flows/${goodFlow.id}`]: [{ body: goodFlow, always: true }],
      [`POST /api/flow_runs/${id}/set_state`]: [
        { status: 201, body: { status: "ACCEPT", state: pending, details: {} }, always: true },
      ],
      [`GET /api/flow_runs/${id}`]: [{ body: { ...flowRun, state_type: "COMPLETED", state: null }, always: true }],
      [`PATCH /api/flow_runs/${id}`]: [{ status: 204, always: true }],
      [`PATCH /api/flow_runs/${id}/labels`]: [{ status: 204, always: true }],
    },
    sockets: {
      always: true,
      async play(socket) {
        await socket.acceptAuth();
        // Only the subscription begins with a filter.
        if ((await socket.next<{ type: string }>()).type === "filter") events = socket;
        await socket.closed;
      },
    },
  });
  await using worker = await startPoolWorker(server, { PREFECT_WORKER_QUERY_SECONDS: "60" }, ["--limit", "1"]);
  await worker.waitForOutput(/submitted to infrastructure/, 20_000);
  const socket = await waitFor(() => events, { ...soon, what: "the subscription" });
  // The look-again after the subscription is over.
  await waitFor(() => pollTimes(server).length >= 3, { ...soon, what: "the first polls" });
  const before = pollTimes(server).length;
  for (let count = 0; count < 50; count++) socket.send(scheduledEvent(randomUUID()));
  await waitFor(() => server.requests.some(({ path }) => path.endsWith(`/flow_runs/${id}`)), {
    ...soon,
    what: "the end of the flow run",
  });
  expect(pollTimes(server).length).toBe(before);
  await waitFor(() => pollTimes(server).length > before, { ...soon, what: "the poll for the free slot" });
});
