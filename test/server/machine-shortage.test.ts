// A worker whose machine can start no process: the flow runs that it claimed stay executable, and it takes few others.
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { expect, inject, test } from "vitest";
import type { State } from "../../src/api/wire.ts";
import { findFreePort } from "../support/free-port.ts";
import { limitableLictor, limitProcesses } from "../support/limited-worker.ts";
import { startWorker } from "../support/start-worker.ts";
import { waitFor } from "../support/wait-for.ts";
import { deploy, newPool, sharedApi } from "./deployments.ts";

const ENGINE_TIMEOUT_MS = 90_000;
const warning =
  /This machine cannot start flow runs: spawn .* EAGAIN: The system lets this user start no further process/;

/** A worker that has already executed a flow run, so that it knows its Python. Its health is at `port`. */
async function startLimitable(pool: string, deployment: string) {
  const port = await findFreePort();
  const worker = await startWorker(pool, {
    apiUrl: inject("apiUrl"),
    command: limitableLictor,
    args: ["--with-healthcheck", "--log-format", "text"],
    // The process that has imported Prefect is not limited, and would go on starting engines.
    env: { PREFECT_WORKER_WEBSERVER_PORT: String(port), LICTOR_ENGINE: "cold" },
  });
  const { id } = await sharedApi().createFlowRun(deployment);
  await sharedApi().waitForState(id, ["COMPLETED"], ENGINE_TIMEOUT_MS);
  const readHealth = async () => {
    const response = await fetch(`http://127.0.0.1:${port}/health`);
    return { status: response.status, ...((await response.json()) as { machine_problem?: string }) };
  };
  return Object.assign(worker, { readHealth });
}

const countOf = (states: readonly State[], name: string): number =>
  states.filter((state) => state.name === name).length;

test("a machine without a free process gives flow runs back, slows down, says so, and goes on when it can", {
  timeout: 300_000,
}, async () => {
  const api = sharedApi();
  const pool = await newPool(api);
  const deployment = await deploy(api, pool, "hello");
  await using worker = await startLimitable(pool, deployment);
  await limitProcesses(worker.pid, true);
  const flowRuns = await Promise.all([0, 1, 2, 3].map(() => api.createFlowRun(deployment)));
  await worker.waitForOutput(/is scheduled again; it was not started/, 60_000);
  const lookedAt = performance.now();
  expect(await worker.readHealth()).toMatchObject({ status: 200, machine_problem: expect.stringMatching(/EAGAIN/) });
  // The second pause has begun, so one more flow run was tried.
  const countGivenBack = () => worker.stderr.match(/is scheduled again; it was not started/g)?.length ?? 0;
  await waitFor(() => countGivenBack() > flowRuns.length, { timeoutMs: 60_000, what: "another try" });
  const sickSeconds = (performance.now() - lookedAt) / 1000;
  await limitProcesses(worker.pid, false);
  const histories = await Promise.all(flowRuns.map(({ id }) => api.waitForState(id, ["COMPLETED"], ENGINE_TIMEOUT_MS)));
  const states = histories.flatMap((history) => history.states);
  expect(countOf(states, "Crashed")).toBe(0);
  expect(countOf(states, "Running")).toBe(4);
  // Each flow run was claimed at most once before the shortage was known. Then one was tried after each pause.
  const triedLater = countOf(states, "Pending") - 2 * flowRuns.length;
  expect(triedLater).toBeLessThanOrEqual(1 + sickSeconds / 5);
  const message = states.find(({ name, message }) => name === "Scheduled" && message)?.message;
  expect(message).toMatch(
    /^Not started: worker 'test-worker' could not start its process\. spawn .* EAGAIN: The system/,
  );
  expect(message).not.toMatch(/\.\.$/);
  expect(worker.stderr.match(new RegExp(warning, "g"))).toHaveLength(1);
  expect(worker.stderr).toContain("This machine can start flow runs again.");
  expect(await worker.readHealth()).toEqual({ status: 200, message: "OK" });
  worker.signal("SIGTERM");
  expect(await worker.exited).toEqual({ code: 0, signal: null });
  expect(await readdir(join(worker.home, "tmp"))).toEqual([]);
});

test("the flow runs that such a machine gives back are executed by another worker at once", {
  timeout: 300_000,
}, async () => {
  const api = sharedApi();
  const pool = await newPool(api);
  const deployment = await deploy(api, pool, "hello");
  await using sick = await startLimitable(pool, deployment);
  await limitProcesses(sick.pid, true);
  const { id } = await api.createFlowRun(deployment);
  await sick.waitForOutput(warning, 60_000);
  await using _healthy = await startWorker(pool, { apiUrl: inject("apiUrl"), name: "healthy" });
  const { states } = await api.waitForState(id, ["COMPLETED"], ENGINE_TIMEOUT_MS);
  expect(countOf(states, "Crashed")).toBe(0);
});
