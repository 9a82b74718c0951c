// Holds the same dialogues with the model of the server and with a real server, and compares every answer.
import { beforeAll, describe, expect, test } from "vitest";
import type { FlowRun, OrchestrationResult, ScheduledFlowRun, State } from "../../src/api/wire.ts";
import { deploy, newPool, sharedApi } from "../server/deployments.ts";
import type { JsonRequest } from "../support/json-request.ts";
import { ServerModel } from "./server-model.ts";
import type { Proposal } from "./state-rules.ts";
import { epochMs } from "./virtual-clock.ts";

/** One side of the comparison: a server with a deployment in a work pool of its own. */
interface Side {
  readonly request: JsonRequest;
  readonly pool: string;
  readonly deploymentId: string;
}

const pending: Proposal = { type: "PENDING", name: "Pending" };
const submitting: Proposal = { type: "PENDING", name: "Submitting" };
const running: Proposal = { type: "RUNNING", name: "Running" };
const completed: Proposal = { type: "COMPLETED", name: "Completed" };
const failed: Proposal = { type: "FAILED", name: "Failed" };
const cancelling: Proposal = { type: "CANCELLING", name: "Cancelling" };
const paused: Proposal = { type: "PAUSED", name: "Paused" };
const suspended: Proposal = { type: "PAUSED", name: "Suspended", state_details: { pause_reschedule: true } };
const scheduled: Proposal = { type: "SCHEDULED", name: "Scheduled" };
const crashed: Proposal = { type: "CRASHED", name: "Crashed" };
const cancelled: Proposal = { type: "CANCELLED", name: "Cancelled" };

/** How a flow run gets into each state that a worker meets. */
const paths: Readonly<Record<string, readonly Proposal[]>> = {
  Scheduled: [],
  Pending: [pending],
  Submitting: [pending, submitting],
  Running: [pending, submitting, running],
  Completed: [pending, running, completed],
  Failed: [pending, running, failed, running, failed],
  Crashed: [pending, running, crashed],
  Cancelled: [pending, cancelled],
  Cancelling: [pending, running, cancelling],
  Paused: [pending, running, paused],
  Suspended: [pending, running, suspended],
  AwaitingRetry: [pending, running, failed],
  "retried by its engine": [pending, running, failed, running],
  "scheduled again": [pending, running, crashed, scheduled],
  "claimed again": [pending, scheduled, pending],
};

const proposals: readonly Proposal[] = [
  ...[pending, submitting, running, completed, failed, crashed, cancelling, cancelled, scheduled, paused, suspended],
];

/** The states that a worker or an engine forces, or a user in the UI. */
const forced: readonly Proposal[] = [cancelled, crashed, cancelling];

let real: Side;
let model: Side;

beforeAll(async () => {
  const api = sharedApi();
  const pool = await newPool(api);
  real = { request: api.request, pool, deploymentId: await deploy(api, pool, "hello") };
  model = modelSide();
});

function modelSide(): Side {
  let now = epochMs;
  let ids = 0;
  const server = new ServerModel(
    () => now++,
    () => `id-${++ids}`,
  );
  const request: JsonRequest = async (method, path, body) => {
    const { status, body: response } = server.handle(method, path, body);
    if (status >= 300) throw new Error(`${method} ${path}: ${status}`);
    return JSON.parse(JSON.stringify(response ?? null)) as never;
  };
  server.handle("POST", "/work_pools/", { name: "p", type: "process", base_job_template: {} });
  return { request, pool: "p", deploymentId: server.addDeployment("d", "p") };
}

/** Creates a flow run with one retry. */
async function createRun({ request, deploymentId }: Side): Promise<FlowRun> {
  const state = { type: "SCHEDULED", name: "Scheduled" };
  const empirical_policy = { retries: 1, retry_delay: 0 };
  return await request<FlowRun>("POST", `/deployments/${deploymentId}/create_flow_run`, { state, empirical_policy });
}

async function propose({ request }: Side, id: string, proposal: Proposal, force = false): Promise<OrchestrationResult> {
  const state = { message: null, ...proposal };
  return await request<OrchestrationResult>("POST", `/flow_runs/${id}/set_state`, { state, force });
}

/** What a worker can see of an answer. Times are compared by what they are equal to. */
function describeAnswer({ status, state, details }: OrchestrationResult, run: FlowRun) {
  const { type, reason = null } = details;
  return { status, type, reason, state: describeState(state, run) };
}

function describeState(state: State | null, run: FlowRun) {
  const { scheduled_time } = state?.state_details ?? {};
  const isFirstTime = scheduled_time && Date.parse(scheduled_time) === Date.parse(run.next_scheduled_start_time ?? "");
  const time = isFirstTime ? "as created" : scheduled_time ? "another" : null;
  return state && { type: state.type, name: state.name, scheduled_time: time };
}

async function describeRun({ request }: Side, run: FlowRun) {
  const after = await request<FlowRun>("GET", `/flow_runs/${run.id}`);
  const history = await request<State[]>("GET", `/flow_run_states/?flow_run_id=${run.id}`);
  return {
    state: [after.state_type, after.state_name, describeState(after.state, run)],
    isScheduled: after.next_scheduled_start_time !== null,
    hasBegun: after.start_time !== null,
    retry: after.empirical_policy?.retry_type ?? null,
    history: history.map(({ name }) => name),
  };
}

/** Brings a flow run into a state, proposes another, and returns all that a worker can see. */
async function dialogue(side: Side, path: readonly Proposal[], proposal: Proposal, force: boolean) {
  const run = await createRun(side);
  const before = [];
  for (const step of path) before.push(describeAnswer(await propose(side, run.id, step), run));
  const answer = describeAnswer(await propose(side, run.id, proposal, force), run);
  return { before, answer, after: await describeRun(side, run) };
}

describe.each(Object.entries(paths))("a flow run that is %s", (_state, path) => {
  test.each([
    ["proposed", false, proposals],
    ["forced", true, forced],
  ] as const)("and another state is %s", async (_how, force, states) => {
    for (const proposal of states) {
      const expected = await dialogue(real, path, proposal, force);
      expect(await dialogue(model, path, proposal, force), proposal.name ?? "").toEqual(expected);
    }
  });
});

test("a proposal that is repeated is refused with the state that it set", async () => {
  const repeat = async (side: Side) => {
    const run = await createRun(side);
    const transition_id = "00000000-0000-4000-8000-00000000000a";
    const proposal = { ...pending, state_details: { transition_id } };
    const answers = [await propose(side, run.id, proposal), await propose(side, run.id, proposal)];
    expect(answers[1]?.state?.state_details?.transition_id).toBe(transition_id);
    return answers.map((answer) => describeAnswer(answer, run));
  };
  expect(await repeat(model)).toEqual(await repeat(real));
});

test("Running is told to wait until the scheduled time, and a scheduled flow run with a process is Cancelling", async () => {
  const hold = async (side: Side) => {
    const run = await createRun(side);
    const scheduled_time = new Date(Date.parse(run.created ?? "") + 3_600_000).toISOString();
    const later: Proposal = { ...scheduled, state_details: { scheduled_time } };
    const answers = [];
    for (const proposal of [later, running, pending, running]) answers.push(await propose(side, run.id, proposal));
    await side.request("PATCH", `/flow_runs/${run.id}`, { infrastructure_pid: "4711" });
    for (const proposal of [later, cancelling]) answers.push(await propose(side, run.id, proposal));
    const other = await createRun(side);
    for (const infrastructure_pid of ["4711", null])
      await side.request("PATCH", `/flow_runs/${other.id}`, { infrastructure_pid });
    answers.push(await propose(side, other.id, cancelling));
    return answers.map((answer) => describeAnswer(answer, run));
  };
  expect(await hold(model)).toEqual(await hold(real));
});

test("a poll returns the due flow runs that no engine retries, within the limit of the work pool", async () => {
  const poll = async ({ request, pool }: Side): Promise<string[]> => {
    const body = { work_queue_names: [], scheduled_before: "2100-01-01T00:00:00Z" };
    const found = await request<ScheduledFlowRun[]>("POST", `/work_pools/${pool}/get_scheduled_flow_runs`, body);
    return found.map(({ flow_run }) => flow_run.id);
  };
  const look = async (side: Side) => {
    const runs: string[] = [];
    for (const path of [[], [pending], [pending, running, failed], [pending, scheduled], []] as const) {
      const run = await createRun(side);
      for (const step of path) await propose(side, run.id, step);
      runs.push(run.id);
    }
    const indexes = async (): Promise<number[]> =>
      (await poll(side)).map((id) => runs.indexOf(id)).filter((at) => at >= 0);
    const unlimited = await indexes();
    await side.request("PATCH", `/work_pools/${side.pool}`, { is_paused: true });
    const whilePaused = await indexes();
    await side.request("PATCH", `/work_pools/${side.pool}`, { is_paused: false });
    return { unlimited, whilePaused };
  };
  expect(await look(model)).toEqual(await look(real));
});

test("a filter finds flow runs by id and state", async () => {
  const find = async (side: Side) => {
    const runs = [await createRun(side), await createRun(side), await createRun(side)];
    for (const step of [pending, running, cancelling]) await propose(side, runs[1]?.id ?? "", step);
    const ids = runs.map(({ id }) => id);
    const counts = [];
    const [type, name] = [{ any_: ["CANCELLING"] }, { any_: ["Scheduled"] }];
    for (const state of [undefined, { type }, { name }, { type, name }, { operator: "or_", type, name }]) {
      const flow_runs = { id: { any_: ids }, ...(state && { state }) };
      const found = await side.request<FlowRun[]>("POST", "/flow_runs/filter", { flow_runs, offset: 0 });
      counts.push(found.map(({ id }) => ids.indexOf(id)).sort());
    }
    return counts;
  };
  expect(await find(model)).toEqual(await find(real));
});

test("a worker is listed after its heartbeat, which makes the work pool ready", async () => {
  const beat = async ({ request, pool }: Side) => {
    await request("POST", `/work_pools/${pool}/workers/heartbeat`, { name: "w", heartbeat_interval_seconds: 30 });
    const workers = { status: { any_: ["ONLINE"] } };
    const listed = await request<{ name: string }[]>("POST", `/work_pools/${pool}/workers/filter`, { workers });
    const { status } = await request<{ status: string }>("GET", `/work_pools/${pool}`);
    return { names: listed.map(({ name }) => name), status };
  };
  expect(await beat(model)).toEqual(await beat(real));
});
