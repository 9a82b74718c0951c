// How a flow run's process is started: commands of one's own, Prefect's own command, working directories.
import { mkdir, readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { describe, expect, inject, test } from "vitest";
import type { JsonObject } from "../../src/api/wire.ts";
import type { RunningProgram } from "../support/lictor.ts";
import { signalUntil } from "../support/program-output.ts";
import { startWorker, type WorkerOptions } from "../support/start-worker.ts";
import { makeTemporaryDirectory } from "../support/temporary-directory.ts";
import { sleeping, untilNoProcess } from "./cancelled-runs.ts";
import { claimedStates, deploy, type FixtureFlow, newPool, programCommand, sharedApi } from "./deployments.ts";

/** `prefect flow-run execute` starts Python three times: itself, its supervisor, sometimes a hook. */
const EXECUTE_TIMEOUT_MS = 90_000;

interface Run extends AsyncDisposable {
  id: string;
  api: ReturnType<typeof sharedApi>;
  worker: RunningProgram;
}

/** One flow run of a fixture flow with these job variables, in the hands of a worker. */
async function start(
  flow: FixtureFlow,
  jobVariables: JsonObject,
  options: { entrypoint?: string; parameters?: JsonObject; worker?: Partial<WorkerOptions> } = {},
): Promise<Run> {
  const { entrypoint, parameters = {}, worker: workerOptions } = options;
  const api = sharedApi();
  const pool = await newPool(api);
  const deployment = await deploy(api, pool, flow, { jobVariables, ...(entrypoint ? { entrypoint } : {}) });
  const worker = await startWorker(pool, { apiUrl: inject("apiUrl"), ...workerOptions });
  const { id } = await api.createFlowRun(deployment, { parameters });
  return { id, api, worker, [Symbol.asyncDispose]: () => worker[Symbol.asyncDispose]() };
}

async function untilSettled(worker: RunningProgram): Promise<void> {
  await untilNoProcess(worker);
  worker.signal("SIGTERM");
  expect(await worker.exited).toEqual({ code: 0, signal: null });
}

describe("a command of the deployment's own", () => {
  test("that is the engine completes its flow run", async () => {
    await using run = await start("hello", { command: `${inject("python")} -m prefect.engine` });
    const { states } = await run.api.waitForState(run.id, ["COMPLETED"], 60_000);
    expect(states.map(({ name }) => name)).toEqual(["Scheduled", ...claimedStates(), "Running", "Completed"]);
  });

  test("that ends well without a word to the server leaves the flow run as it is", async () => {
    await using run = await start("hello", { command: `${process.execPath} -e 0` });
    await run.worker.waitForOutput(/submitted to infrastructure/, 20_000);
    await untilSettled(run.worker);
    expect(await run.api.readFlowRun(run.id)).toMatchObject({
      state_type: "PENDING",
      state_name: claimedStates().at(-1),
    });
  });
});

describe("a command that is no engine", () => {
  test("is cancelled without a Python for hooks, though its deployment's flow has some", async () => {
    await using directory = await makeTemporaryDirectory("lictor-hooks-");
    const file = join(directory.path, "hooks");
    const jobVariables = { command: sleeping, env: { HOOKS_FILE: file } };
    await using run = await start("hello", jobVariables, { entrypoint: "hooks.py:sleep_with_hooks" });
    await run.worker.waitForOutput(/^plain$/m, 20_000);
    await run.api.setState(run.id, "CANCELLING", { force: true });
    await run.api.waitForState(run.id, ["CANCELLED"], 30_000);
    await untilSettled(run.worker);
    await expect(readFile(file, "utf8")).rejects.toThrow("ENOENT");
    expect(run.worker.stderr).not.toContain("hooks");
  });
});

describe("prefect flow-run execute as the command", () => {
  const command = () => `${join(dirname(inject("python")), "prefect")} flow-run execute`;

  test("completes its flow run", async () => {
    await using run = await start("hello", { command: command() });
    const { states } = await run.api.waitForState(run.id, ["COMPLETED"], EXECUTE_TIMEOUT_MS);
    expect(states.map(({ name }) => name)).toEqual(["Scheduled", ...claimedStates(), "Running", "Completed"]);
    await untilSettled(run.worker);
  });

  test("leaves a failed flow run as Failed", async () => {
    await using run = await start("fail", { command: command() });
    await run.api.waitForState(run.id, ["FAILED"], EXECUTE_TIMEOUT_MS);
    await untilSettled(run.worker);
    expect((await run.api.readFlowRun(run.id)).state_type).toBe("FAILED");
  });

  test("ends a cancelled flow run as Cancelled, its hook run once and no process left", async () => {
    await using directory = await makeTemporaryDirectory("lictor-hooks-");
    const file = join(directory.path, "hooks");
    const jobVariables = { command: command(), env: { HOOKS_FILE: file } };
    await using run = await start("hello", jobVariables, { entrypoint: "hooks.py:sleep_with_hooks" });
    await run.worker.waitForOutput(/^ready$/m, EXECUTE_TIMEOUT_MS);
    await run.api.setState(run.id, "CANCELLING");
    const { states } = await run.api.waitForState(run.id, ["CANCELLED"], 60_000);
    expect(states.map(({ type }) => type)).not.toContain("CRASHED");
    await untilSettled(run.worker);
    expect(await readFile(file, "utf8")).toBe("cancellation Cancelling\n");
  }, 200_000);

  test("leaves no process when the worker is stopped at once", async () => {
    await using run = await start("sleep", { command: command() }, { parameters: { seconds: 120 } });
    await run.worker.waitForOutput(/^ready$/m, EXECUTE_TIMEOUT_MS);
    run.worker.signal("SIGTERM");
    await run.worker.waitForOutput(/Waiting for 1 flow run/, 10_000);
    await signalUntil(run.worker, "SIGINT", /Ending all flow runs/);
    await run.api.waitForState(run.id, ["CRASHED"], 60_000);
    await untilNoProcess(run.worker);
  }, 200_000);
});

describe("a working directory", () => {
  const command = () => programCommand("env-probe.mjs");

  test("that is relative lies below the worker's own directory", async () => {
    await using directory = await makeTemporaryDirectory("lictor-cwd-");
    await mkdir(join(directory.path, "below"));
    const file = join(directory.path, "probe.json");
    const jobVariables = { command: command(), working_dir: "below", env: { PROBE_FILE: file } };
    await using run = await start("hello", jobVariables, { worker: { cwd: directory.path } });
    await run.worker.waitForOutput(/submitted to infrastructure/, 20_000);
    await untilSettled(run.worker);
    expect(JSON.parse(await readFile(file, "utf8")).cwd).toBe(join(directory.path, "below"));
  });

  test("is made where Python would make it when TMPDIR does not exist", async () => {
    await using directory = await makeTemporaryDirectory("lictor-tmp-");
    const file = join(directory.path, "probe.json");
    const worker = { env: { TMPDIR: "/no/such/directory", TEMP: directory.path } };
    await using run = await start("hello", { command: command(), env: { PROBE_FILE: file } }, { worker });
    await run.worker.waitForOutput(/submitted to infrastructure/, 20_000);
    await untilSettled(run.worker);
    const { cwd } = JSON.parse(await readFile(file, "utf8"));
    expect(cwd).toMatch(new RegExp(`^${directory.path}/lictor-flow-run-`));
  });

  test("that does not exist is the reason for a crash", async () => {
    await using run = await start("hello", { working_dir: "/no/such/directory" });
    const { flowRun } = await run.api.waitForState(run.id, ["CRASHED"], 30_000);
    expect(flowRun.state?.message).toBe(
      "Flow run could not start: The working directory '/no/such/directory' does not exist. Create it, or correct the job variable working_dir.",
    );
  });
});
