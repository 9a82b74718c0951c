// Flow runs that do not go straight to their end: retries, pauses, suspensions, reruns, flow runs of flow runs.
import { randomUUID } from "node:crypto";
import { join } from "node:path";
import { describe, expect, inject, test } from "vitest";
import type { JsonObject } from "../../src/api/wire.ts";
import type { RunningProgram } from "../support/lictor.ts";
import { startWorker, type WorkerOptions } from "../support/start-worker.ts";
import { makeTemporaryDirectory } from "../support/temporary-directory.ts";
import { waitFor } from "../support/wait-for.ts";
import { startCommand, untilNoProcess } from "./cancelled-runs.ts";
import { claimedStates, deploy, newPool, sharedApi } from "./deployments.ts";

const RUN_TIMEOUT_MS = 90_000;

interface Run extends AsyncDisposable {
  id: string;
  pool: string;
  api: ReturnType<typeof sharedApi>;
  worker: RunningProgram;
}

/** One flow run of test/fixtures/flows/again.py in the hands of a worker. */
async function start(
  flow: string,
  options: { parameters?: JsonObject; worker?: Partial<WorkerOptions> } = {},
): Promise<Run> {
  const api = sharedApi();
  const pool = await newPool(api);
  const deployment = await deploy(api, pool, "hello", { entrypoint: `again.py:${flow}` });
  const worker = await startWorker(pool, { apiUrl: inject("apiUrl"), ...options.worker });
  const { id } = await api.createFlowRun(deployment, { parameters: options.parameters ?? {} });
  return { id, pool, api, worker, [Symbol.asyncDispose]: () => worker[Symbol.asyncDispose]() };
}

/** The processes that printed `what`, one for each time. */
function processesThatSaid(worker: RunningProgram, what: string): string[] {
  return [...worker.stdout.matchAll(new RegExp(`^${what} in process (\\d+)$`, "gm"))].map((match) => match[1] ?? "");
}

async function stateNames({ api, id }: Pick<Run, "api" | "id">): Promise<string[]> {
  return (await api.readStates(id)).map(({ name }) => name);
}

describe.concurrent("a flow run", () => {
  test("with retries waits and is retried in its process", async () => {
    await using run = await start("third_time_lucky");
    await run.api.waitForState(run.id, ["COMPLETED"], RUN_TIMEOUT_MS);
    const attempts = [1, 2, 3].map((attempt) => processesThatSaid(run.worker, `attempt ${attempt}`));
    expect(attempts[0]).toHaveLength(1);
    expect(attempts).toEqual([attempts[0], attempts[0], attempts[0]]);
    expect((await stateNames(run)).slice(claimedStates().length + 1)).toEqual([
      "Running",
      "AwaitingRetry",
      "Running",
      "AwaitingRetry",
      "Running",
      "Completed",
    ]);
  });

  test("that a user pauses from within waits in its process until it is resumed", async () => {
    await using run = await start("pause");
    await run.worker.waitForOutput(/^before in process/m, RUN_TIMEOUT_MS);
    await run.api.waitForState(run.id, ["PAUSED"], 20_000);
    await run.api.request("POST", `/flow_runs/${run.id}/resume`, {});
    await run.api.waitForState(run.id, ["COMPLETED"], RUN_TIMEOUT_MS);
    expect(processesThatSaid(run.worker, "after")).toEqual(processesThatSaid(run.worker, "before"));
    expect(await stateNames(run)).toContain("Paused");
  });

  test("that is suspended ends its process, and is taken anew when it is resumed", async () => {
    await using run = await start("suspend", { worker: { args: ["--limit", "1"] } });
    await run.api.waitForState(run.id, ["PAUSED"], RUN_TIMEOUT_MS);
    await untilNoProcess(run.worker);
    expect((await run.api.readFlowRun(run.id)).state_name).toBe("Suspended");
    await run.api.request("POST", `/flow_runs/${run.id}/resume`, {});
    await run.api.waitForState(run.id, ["COMPLETED"], RUN_TIMEOUT_MS);
    const [first, second, ...more] = processesThatSaid(run.worker, "before");
    expect(more).toEqual([]);
    expect(second).toBeDefined();
    expect(second).not.toBe(first);
    expect(processesThatSaid(run.worker, "after")).toEqual([second]);
  });

  test.each([
    { end: "Completed", type: "COMPLETED", rescheduled: "Scheduled" },
    { end: "Failed", type: "FAILED", rescheduled: "AwaitingRetry" },
    { end: "Crashed", type: "CRASHED", rescheduled: "AwaitingRetry" },
  ] as const)("that ended as $end is executed anew when somebody sets it to $rescheduled", async (row) => {
    await using directory = await makeTemporaryDirectory("lictor-again-");
    const parameters = { marker: join(directory.path, "marker"), first_end: row.end };
    await using run = await start("twice", { parameters, worker: { args: ["--limit", "1"] } });
    await run.api.waitForState(run.id, [row.type], RUN_TIMEOUT_MS);
    // Its process outlives its end by a moment, and what it says then would be about the new attempt.
    await untilNoProcess(run.worker);
    const scheduledTime = new Date().toISOString();
    const state = { type: "SCHEDULED", name: row.rescheduled, state_details: { scheduled_time: scheduledTime } };
    await run.api.request("POST", `/flow_runs/${run.id}/set_state`, { state, force: true });
    await run.api.waitForState(run.id, ["COMPLETED"], RUN_TIMEOUT_MS);
    const attempt = [...claimedStates(), "Running"];
    const expected = ["Scheduled", ...attempt, row.end, row.rescheduled, ...attempt, "Completed"];
    expect(await stateNames(run)).toEqual(expected);
    expect(new Set(processesThatSaid(run.worker, "attempt")).size).toBe(2);
  });

  test("that is scheduled anew while its process still lives is not reported as crashed when that ends", async () => {
    const command = `${process.execPath} -e "console.log('plain');setTimeout(()=>process.exit(3),4e3)"`;
    await using run = await startCommand(command);
    await run.worker.waitForOutput(/^plain$/m, 20_000);
    const state = {
      type: "SCHEDULED",
      name: "AwaitingRetry",
      state_details: { scheduled_time: new Date().toISOString() },
    };
    await run.api.request("POST", `/flow_runs/${run.id}/set_state`, { state, force: true });
    await run.api.waitForState(run.id, ["CRASHED"], RUN_TIMEOUT_MS);
    const expected = ["Scheduled", ...claimedStates(), "AwaitingRetry", ...claimedStates(), "Crashed"];
    expect(await stateNames(run)).toEqual(expected);
    expect(run.worker.stdout.match(/^plain$/gm)).toHaveLength(2);
  });

  test.each([
    ["succeeds", 0],
    ["fails", 3],
  ])("that schedules itself for later and %s can be cancelled at once", async (_, exitCode) => {
    await using run = await startCommand(`sh -c "echo plain; sleep 3; exit ${exitCode}"`);
    await run.worker.waitForOutput(/^plain$/m, 20_000);
    const hasId = async () => (await run.api.readFlowRun(run.id)).infrastructure_pid !== null;
    await waitFor(hasId, { timeoutMs: 20_000, what: "the process id" });
    const scheduled_time = new Date(Date.now() + 3_600_000).toISOString();
    const state = { type: "SCHEDULED", name: "AwaitingRetry", state_details: { scheduled_time } };
    await run.api.request("POST", `/flow_runs/${run.id}/set_state`, { state, force: true });
    await waitFor(async () => !(await hasId()), { timeoutMs: 20_000, what: "no process id" });
    await run.api.setState(run.id, "CANCELLING");
    expect((await run.api.readFlowRun(run.id)).state_type).toBe("CANCELLED");
  });

  test("that is claimed early begins at its time", async () => {
    const api = sharedApi();
    const pool = await newPool(api);
    const deployment = await deploy(api, pool, "hello");
    await using _worker = await startWorker(pool, { apiUrl: inject("apiUrl"), args: ["--prefetch-seconds", "60"] });
    const scheduledTime = new Date(Date.now() + 15_000);
    const { id } = await api.createFlowRun(deployment, { scheduledTime });
    const { states } = await api.waitForState(id, ["COMPLETED"], RUN_TIMEOUT_MS);
    const timeOf = (name: string) => Date.parse(states.find((state) => state.name === name)?.timestamp ?? "");
    expect(timeOf("Pending")).toBeLessThan(scheduledTime.getTime());
    // The server lets an engine wait for whole seconds only.
    expect(timeOf("Running")).toBeGreaterThan(scheduledTime.getTime() - 1_000);
  });

  test("that is late is taken by the worker that comes at last", async () => {
    const api = sharedApi();
    const pool = await newPool(api);
    const deployment = await deploy(api, pool, "hello");
    const { id } = await api.createFlowRun(deployment, { scheduledTime: new Date(Date.now() - 60_000) });
    await waitFor(async () => (await api.readFlowRun(id)).state_name === "Late", {
      timeoutMs: 90_000,
      what: "the server to find the flow run late",
    });
    await using _worker = await startWorker(pool, { apiUrl: inject("apiUrl") });
    await api.waitForState(id, ["COMPLETED"], RUN_TIMEOUT_MS);
  });

  test("tells that it lives as often as the worker's setting says", async () => {
    const api = sharedApi();
    const pool = await newPool(api);
    const deployment = await deploy(api, pool, "sleep");
    const env = { PREFECT_FLOWS_HEARTBEAT_FREQUENCY: "30" };
    await using worker = await startWorker(pool, { apiUrl: inject("apiUrl"), env });
    const { id } = await api.createFlowRun(deployment, { parameters: { seconds: 120 } });
    await worker.waitForOutput(/^ready$/m, RUN_TIMEOUT_MS);
    const filter = { event: { name: ["prefect.flow-run.heartbeat"] }, resource: { id: [`prefect.flow-run.${id}`] } };
    // The default is 180 s.
    await waitFor(async () => (await api.readEvents(filter)).length === 2, {
      timeoutMs: 60_000,
      what: "a second heartbeat",
      intervalMs: 1_000,
    });
  }, 200_000);

  test("that runs another deployment in the same pool waits for it, given a second slot", async () => {
    const api = sharedApi();
    const pool = await newPool(api);
    const name = `child-${randomUUID().slice(0, 8)}`;
    await api.createDeployment({
      flowName: "hello",
      name,
      workPool: pool,
      path: new URL("../fixtures/flows", import.meta.url).pathname,
      entrypoint: "hello.py:hello",
    });
    const deployment = await deploy(api, pool, "hello", { entrypoint: "again.py:parent" });
    await using worker = await startWorker(pool, { apiUrl: inject("apiUrl"), args: ["--limit", "2"] });
    const { id } = await api.createFlowRun(deployment, { parameters: { child: `hello/${name}` } });
    await api.waitForState(id, ["COMPLETED"], RUN_TIMEOUT_MS);
    expect(processesThatSaid(worker, "child Completed")).toHaveLength(1);
    expect(worker.stderr.match(/submitted to infrastructure/g)).toHaveLength(2);
  });
});
