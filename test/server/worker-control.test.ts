// `lictor worker status` and `lictor worker drain`, which talk to running workers over their control sockets.
import { readdir, stat } from "node:fs/promises";
import http from "node:http";
import { join } from "node:path";
import { expect, inject, test } from "vitest";
import { type RunningProgram, runLictor } from "../support/lictor.ts";
import { startWorker } from "../support/start-worker.ts";
import { makeTemporaryDirectory } from "../support/temporary-directory.ts";
import { deploy, newPool, programCommand, sharedApi } from "./deployments.ts";

const stateOf = (worker: RunningProgram): string => join(worker.home, ".prefect", "lictor");

/** Runs `lictor worker …` as the user whose worker that is. */
function control(worker: RunningProgram, ...args: string[]) {
  return runLictor(["worker", ...args], { env: { LICTOR_STATE_DIR: stateOf(worker) } });
}

/** A worker with one flow run that runs for so many seconds. */
async function startBusyWorker(seconds: number, env: Record<string, string> = {}) {
  const api = sharedApi();
  const pool = await newPool(api);
  const worker = await startWorker(pool, { apiUrl: inject("apiUrl"), env });
  const flowRun = await api.createFlowRun(await deploy(api, pool, "sleep"), { parameters: { seconds } });
  await worker.waitForOutput(/^ready$/m, 60_000);
  return { api, pool, worker, flowRun, [Symbol.asyncDispose]: () => worker[Symbol.asyncDispose]() };
}

test("status shows the worker and its flow runs, drain --wait returns when they have ended", async () => {
  await using busy = await startBusyWorker(8);
  const { worker, pool, flowRun } = busy;
  const shown = await control(worker, "status");
  expect(shown).toMatchObject({ code: 0, stderr: "" });
  expect(shown.stdout).toMatch(/^PID +WORKER +POOL +TYPE +PHASE +UP +RUNS +CLAIMED$/m);
  expect(shown.stdout).toMatch(new RegExp(`^${worker.pid} +test-worker +${pool} +process +running .* 1 +1$`, "m"));
  expect(shown.stdout).toMatch(new RegExp(`^ +${flowRun.name} +${pool} .*process \\d+$`, "m"));

  const [status] = JSON.parse((await control(worker, "status", "--json")).stdout);
  expect(status).toMatchObject({
    host: { pid: worker.pid, phase: "running", slots: { used: 1, limit: null } },
    workers: [{ workPool: pool, inFlight: [{ id: flowRun.id, phase: "running", identifier: expect.any(String) }] }],
  });

  const drained = await control(worker, "drain", "--wait");
  expect(drained).toMatchObject({ code: 0, stderr: "" });
  expect(drained.stdout).toContain("takes no new flow runs, waits for 1 flow run.\nIt has ended.\n");
  expect(await worker.exited).toEqual({ code: 0, signal: null });
  expect((await busy.api.readFlowRun(flowRun.id)).state_type).toBe("COMPLETED");
  expect((await control(worker, "status")).stdout).toBe("No worker runs here.\n");
  expect(await readdir(join(stateOf(worker), "instances"))).toEqual([]);
});

test("only the user of a worker may open its control socket, also where the path is longer than sockets allow", async () => {
  await using temporary = await makeTemporaryDirectory("lictor-state-");
  const deep = join(temporary.path, "d".repeat(120));
  await using busy = await startBusyWorker(60, { LICTOR_STATE_DIR: deep });
  const [instance = ""] = await readdir(join(deep, "instances"));
  const directory = join(deep, "instances", instance);
  expect((await stat(directory)).mode & 0o777).toBe(0o700);
  expect((await stat(join(directory, "control.sock"))).mode & 0o777).toBe(0o600);
  const shown = await runLictor(["worker", "status"], { env: { LICTOR_STATE_DIR: deep } });
  expect(shown.stdout).toContain(busy.pool);
});

test("drain --pool leaves the workers of other pools alone, and says when there is none", async () => {
  await using busy = await startBusyWorker(60);
  const none = await control(busy.worker, "drain", "--pool", "another");
  expect(none.code).toBe(1);
  expect(none.stderr).toBe(`No worker of work pool 'another' runs here (looked in ${stateOf(busy.worker)}).\n`);
  expect((await control(busy.worker, "drain", "--pool", busy.pool)).code).toBe(0);
  await busy.worker.waitForOutput(/Told over the control socket to drain/, 20_000);
});

test("a worker that was killed is not shown, and the next one removes what it left", async () => {
  const api = sharedApi();
  const pool = await newPool(api);
  await using worker = await startWorker(pool, { apiUrl: inject("apiUrl") });
  worker.signal("SIGKILL");
  await worker.exited;
  const instances = join(stateOf(worker), "instances");
  const left = await readdir(instances);
  expect(left).toHaveLength(1);
  expect((await control(worker, "status")).stdout).toBe("No worker runs here.\n");
  await using next = await startWorker(pool, { apiUrl: inject("apiUrl"), env: { LICTOR_STATE_DIR: stateOf(worker) } });
  const [instance, ...others] = await readdir(instances);
  expect(others).toEqual([]);
  expect(instance).toMatch(new RegExp(`^${next.pid}-`));
});

test("POST /kill ends the flow runs and says so in their state", async () => {
  const api = sharedApi();
  const pool = await newPool(api);
  await using worker = await startWorker(pool, { apiUrl: inject("apiUrl") });
  const command = programCommand("ignore-sigterm.mjs");
  const flowRun = await api.createFlowRun(await deploy(api, pool, "hello", { jobVariables: { command } }));
  await worker.waitForOutput(/^ready$/m, 60_000);
  const [instance = ""] = await readdir(join(stateOf(worker), "instances"));
  const socketPath = join(stateOf(worker), "instances", instance, "control.sock");
  await new Promise<void>((resolve, reject) => {
    http
      .request({ socketPath, method: "POST", path: "/kill" }, (response) => resolve(void response.resume()))
      .on("error", reject)
      .end();
  });
  const { flowRun: ended } = await api.waitForState(flowRun.id, ["CRASHED"], 60_000);
  expect(ended.state?.message).toBe(
    "Worker 'test-worker' was told over its control socket to kill and ended the flow run's process.",
  );
  expect(await worker.exited).toEqual({ code: 0, signal: null });
});

test("a state directory that cannot be written costs one warning", async () => {
  const api = sharedApi();
  const pool = await newPool(api);
  const file = join("/dev/null", "state");
  await using worker = await startWorker(pool, { apiUrl: inject("apiUrl"), env: { LICTOR_STATE_DIR: file } });
  await worker.waitForOutput(/No control socket in \/dev\/null\/state \(ENOTDIR\)/, 20_000);
  const flowRun = await api.createFlowRun(await deploy(api, pool, "hello"));
  await api.waitForState(flowRun.id, ["COMPLETED"], 60_000);
});
