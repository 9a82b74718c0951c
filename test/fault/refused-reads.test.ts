// Requests about a claimed flow run that the server or a firewall refuses: an expired key, a permission that is missing.
import { expect, test } from "vitest";
import type { JsonObject } from "../../src/api/wire.ts";
import { goodDeployment, goodFlow, goodFlowRun } from "../support/api-answers.ts";
import type { RunningProgram } from "../support/lictor.ts";
import { signalUntil } from "../support/program-output.ts";
import type { AnswerStep, ScriptedServer } from "../support/scripted-server.ts";
import { startWorker } from "../support/start-worker.ts";
import { waitFor } from "../support/wait-for.ts";
import { startPoolServer } from "./scripted-worker.ts";

const id = "00000000-0000-4000-8000-00000000000a";
const scheduledTime = "2020-01-01T00:00:00Z";
const flowRun = { ...(goodFlowRun as JsonObject), id, next_scheduled_start_time: scheduledTime };
const setState = `POST /api/flow_runs/${id}/set_state`;
const readRun = `GET /api/flow_runs/${id}`;
const readHistory = "GET /api/flow_run_states/";
const readDeployment = `GET /api/deployments/${goodDeployment.id}`;
const readFlow = `GET /api/flows/${goodFlow.id}`;
const readBlock = "GET /api/block_types/slug/secret/block_documents/name/token";

const firewall: AnswerStep = { status: 403, headers: { "content-type": "text/html" }, body: "<h1>Forbidden</h1>" };
const expired: AnswerStep = { status: 401, body: { detail: "Unauthorized" } };
const forbidden: AnswerStep = { status: 403, body: { detail: "Missing permission" } };

/** An accepted state. Only a Pending with a scheduled time proves by itself that the claim is exclusive. */
function stateOf(type: string, name: string, scheduled: string | null = null): JsonObject {
  const details = { flow_run_id: id, scheduled_time: scheduled, transition_id: null };
  return { type, name, message: null, timestamp: "2020-01-01T00:00:01Z", state_details: details };
}

function accepted(state: JsonObject): AnswerStep {
  return { status: 201, body: { status: "ACCEPT", state, details: {} } };
}

const claimed = accepted(stateOf("PENDING", "Pending", scheduledTime));
const unproved = stateOf("PENDING", "Pending");
const isUnproved: AnswerStep = { body: { ...flowRun, state_type: "PENDING", state: unproved }, always: true };

/** A server with one flow run; the answers to state proposals and `http` are the test's. */
function startServer(answers: AnswerStep[], http: Record<string, AnswerStep[]> = {}): Promise<ScriptedServer> {
  return startPoolServer({
    polls: [{ body: [{ work_pool_id: "", work_queue_id: "", flow_run: flowRun }] }],
    http: {
      [readDeployment]: [{ body: goodDeployment, always: true }],
      [readFlow]: [{ body: goodFlow, always: true }],
      [`PATCH /api/flow_runs/${id}`]: [{ status: 204, always: true }],
      [`PATCH /api/flow_runs/${id}/labels`]: [{ status: 204, always: true }],
      [readRun]: [
        { body: { ...flowRun, state_type: "COMPLETED", state: stateOf("COMPLETED", "Completed") }, always: true },
      ],
      ...http,
      [setState]: answers,
    },
  });
}

const proposals = ({ requests }: ScriptedServer): { name: string; message: string | null }[] =>
  requests
    .filter(({ path }) => path.endsWith("/set_state"))
    .map(({ body }) => (JSON.parse(body) as { state: { name: string; message: string | null } }).state);

const names = (server: ScriptedServer): string[] => proposals(server).map(({ name }) => name);

/** Starts a worker with a Python. Without one, the job is read before the claim. */
function startPoolWorker({ url }: ScriptedServer): Promise<RunningProgram> {
  const env = { PREFECT_API_KEY: "marked-secret", PREFECT_WORKER_QUERY_SECONDS: "0.2" };
  return startWorker("p", { apiUrl: `${url}/api`, name: "w", env });
}

async function drain(worker: RunningProgram): Promise<void> {
  worker.signal("SIGTERM");
  expect(await worker.exited).toEqual({ code: 0, signal: null });
}

const refused: [what: string, http: Record<string, AnswerStep[]>, scheduled: string | null][] = [
  ["its deployment", { [readDeployment]: [expired, { body: goodDeployment }] }, scheduledTime],
  ["its flow", { [readFlow]: [firewall, expired, { body: goodFlow }] }, scheduledTime],
  [
    "the state and history that prove its claim",
    { [readRun]: [firewall, isUnproved], [readHistory]: [expired, { body: [unproved] }] },
    null,
  ],
];
test.each(refused)("a claimed flow run is started when %s can be read again", async (_what, http, scheduled) => {
  await using server = await startServer(
    ["Pending", "Submitting"].map((name) => accepted(stateOf("PENDING", name, scheduled))),
    http,
  );
  await using worker = await startPoolWorker(server);
  await worker.waitForOutput(/submitted to infrastructure/, 20_000);
  await drain(worker);
  expect(names(server)).toEqual(["Pending", "Submitting"]);
});

test("a claim that cannot be confirmed is given back", async () => {
  const broken: AnswerStep = { status: 422, body: { detail: "no history" } };
  await using server = await startServer([accepted(unproved), accepted(stateOf("SCHEDULED", "Scheduled"))], {
    [readRun]: [isUnproved],
    [readHistory]: [broken],
  });
  await using worker = await startPoolWorker(server);
  await worker.waitForOutput(/is scheduled again; it was not started\./, 20_000);
  await drain(worker);
  expect(proposals(server).map(({ name, message }) => [name, message])).toEqual([
    ["Pending", expect.stringMatching(/^Claimed by worker 'w' on host '/)],
    ["Scheduled", "Not started: worker 'w' could not confirm its claim."],
  ]);
});

test("the second signal gives a claimed flow run back whose flow is still refused", async () => {
  const answers = [claimed, accepted(stateOf("SCHEDULED", "Scheduled"))];
  await using server = await startServer(answers, { [readFlow]: [{ ...expired, always: true }] });
  await using worker = await startPoolWorker(server);
  await waitFor(() => server.requests.some(({ path }) => path.endsWith(goodFlow.id)), {
    timeoutMs: 20_000,
    what: "the flow to be read",
  });
  worker.signal("SIGTERM");
  await worker.waitForOutput(/Taking no new flow runs/, 20_000);
  await signalUntil(worker, "SIGINT", /Ending all flow runs/);
  expect(await worker.exited).toEqual({ code: 0, signal: null });
  expect(names(server)).toEqual(["Pending", "Scheduled"]);
});

test("a block that the worker must not read makes the flow run Crashed at once, with the reason", async () => {
  const answers = [
    claimed,
    accepted(stateOf("PENDING", "Submitting", scheduledTime)),
    accepted(stateOf("CRASHED", "Crashed")),
  ];
  const command = { ...goodDeployment, job_variables: { command: "{{ prefect.blocks.secret.token }}" } };
  await using server = await startServer(answers, {
    [readDeployment]: [{ body: command, always: true }],
    [readBlock]: [{ ...forbidden, always: true }],
  });
  await using worker = await startPoolWorker(server);
  await worker.waitForOutput(/Reported flow run '.*' as crashed/, 20_000);
  await drain(worker);
  expect(proposals(server).at(-1)).toMatchObject({
    name: "Crashed",
    message: expect.stringMatching(/GET \/block_types\/slug\/secret\/.*: 403 Missing permission\./) as string,
  });
});
