// Hooks that the worker runs in place of an engine: they hold no slot and do not hold up the end of the worker.
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, inject, test } from "vitest";
import { signalUntil } from "../support/program-output.ts";
import { startWorker } from "../support/start-worker.ts";
import { makeTemporaryDirectory } from "../support/temporary-directory.ts";
import { waitFor } from "../support/wait-for.ts";
import { startHooked } from "./cancelled-runs.ts";
import { deploy, newPool, sharedApi } from "./deployments.ts";

const soon = { timeoutMs: 90_000 };

test("a flow run whose engine cannot reach its API does not keep the next one from the only slot", async () => {
  const api = sharedApi();
  const pool = await newPool(api);
  await using worker = await startWorker(pool, { apiUrl: inject("apiUrl"), args: ["--limit", "1"] });
  const env = { PREFECT_API_URL: "http://127.0.0.1:9/api" };
  const lost = await api.createFlowRun(await deploy(api, pool, "hello", { jobVariables: { env } }));
  const next = await api.createFlowRun(await deploy(api, pool, "hello"));
  await api.waitForState(lost.id, ["CRASHED"], soon.timeoutMs);
  await api.waitForState(next.id, ["COMPLETED"], soon.timeoutMs);
  worker.signal("SIGTERM");
  expect(await worker.exited).toEqual({ code: 0, signal: null });
  // The hooks were given up: the address never answered.
  expect(worker.stderr).toContain(`execute on_crashed hooks for flow run '${lost.id}'`);
});

test("a hook that hangs leaves its slot to the next flow run, and the second signal ends it", async () => {
  const api = sharedApi();
  await using directory = await makeTemporaryDirectory("lictor-hooks-");
  const file = join(directory.path, "hooks");
  const pool = await newPool(api);
  await using worker = await startWorker(pool, { apiUrl: inject("apiUrl"), args: ["--limit", "1"] });
  const jobVariables = { env: { HOOKS_FILE: file } };
  const hanging = await deploy(api, pool, "hello", {
    entrypoint: "hooks.py:kill_self_with_hanging_hook",
    jobVariables,
  });
  const killed = await api.createFlowRun(hanging);
  await api.waitForState(killed.id, ["CRASHED"], soon.timeoutMs);
  const begun = async () => await readFile(file, "utf8").catch(() => "");
  await waitFor(begun, { ...soon, what: "the hook" });
  const next = await api.createFlowRun(await deploy(api, pool, "hello"));
  await api.waitForState(next.id, ["COMPLETED"], soon.timeoutMs);
  worker.signal("SIGTERM");
  await worker.waitForOutput(/Waiting for \d flow run\(s\) to end/, 20_000);
  await signalUntil(worker, "SIGINT", /Ending all flow runs/);
  expect(await worker.exited).toEqual({ code: 0, signal: null });
  expect(await worker.descendants()).toEqual([]);
});

test("a cancelled flow run is Cancelled before its slow hook has ended", async () => {
  await using run = await startHooked("sleep_with_slow_hook");
  await run.worker.waitForOutput(/^ready$/m, soon.timeoutMs);
  await run.api.setState(run.id, "CANCELLING", { force: true });
  await run.api.waitForState(run.id, ["CANCELLED"], soon.timeoutMs);
  expect(await run.hooks()).toBe("");
  expect(await waitFor(run.hooks, { ...soon, what: "the hook" })).toMatch(/^slow /);
});
