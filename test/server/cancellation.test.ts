// Cancelling a flow run: its end, its hooks, its processes, whoever is away meanwhile.
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, inject, test } from "vitest";
import type { RunningProgram } from "../support/lictor.ts";
import type { PrefectApi } from "../support/prefect-api.ts";
import { startReverseProxy } from "../support/reverse-proxy.ts";
import { startWorker } from "../support/start-worker.ts";
import { makeTemporaryDirectory } from "../support/temporary-directory.ts";
import { waitFor } from "../support/wait-for.ts";
import { deploy, newPool, programCommand, sharedApi } from "./deployments.ts";

const ENGINE_TIMEOUT_MS = 60_000;

/** A worker with one running flow run of test/fixtures/flows/hooks.py, and what its hooks have written so far. */
async function startHooked(
  flow: string,
): Promise<AsyncDisposable & { api: PrefectApi; worker: RunningProgram; id: string; hooks: () => Promise<string> }> {
  const resources = new AsyncDisposableStackLike();
  const directory = resources.use(await makeTemporaryDirectory("lictor-hooks-"));
  const file = join(directory.path, "hooks");
  const api = sharedApi();
  const pool = await newPool(api);
  const deployment = await deploy(api, pool, "hello", {
    entrypoint: `hooks.py:${flow}`,
    jobVariables: { env: { HOOKS_FILE: file } },
  });
  const worker = resources.use(await startWorker(pool, { apiUrl: inject("apiUrl") }));
  const { id } = await api.createFlowRun(deployment);
  const hooks = async (): Promise<string> => await readFile(file, "utf8").catch(() => "");
  return { api, worker, id, hooks, [Symbol.asyncDispose]: () => resources.dispose() };
}

/** Node 20 has no AsyncDisposableStack. */
class AsyncDisposableStackLike {
  readonly #used: AsyncDisposable[] = [];
  use<T extends AsyncDisposable>(resource: T): T {
    this.#used.unshift(resource);
    return resource;
  }
  async dispose(): Promise<void> {
    for (const resource of this.#used) await resource[Symbol.asyncDispose]();
  }
}

async function untilCancelled(api: PrefectApi, id: string, timeoutMs: number): Promise<string[]> {
  await waitFor(async () => (await api.readFlowRun(id)).state_type === "CANCELLED", {
    timeoutMs,
    what: "the flow run to be Cancelled",
  });
  return (await api.readStates(id)).map(({ name }) => name);
}

async function untilNoProcess(worker: RunningProgram): Promise<void> {
  await waitFor(async () => (await worker.descendants()).length === 0, { timeoutMs: 10_000, what: "no process left" });
}

describe("a cancelled flow run", () => {
  test("ends as Cancelled, by way of no other state, its cancellation hooks run once", async () => {
    await using run = await startHooked("sleep_with_hooks");
    await run.worker.waitForOutput(/^ready$/m, ENGINE_TIMEOUT_MS);
    await run.api.setState(run.id, "CANCELLING");
    const states = await untilCancelled(run.api, run.id, 20_000);
    expect(states.filter((name, index) => name !== states[index - 1])).toEqual([
      "Scheduled",
      "Pending",
      "Submitting",
      "Running",
      "Cancelling",
      "Cancelled",
    ]);
    await run.worker.waitForOutput(/Cancelled flow run '/, 20_000);
    await untilNoProcess(run.worker);
    expect(await run.hooks()).toBe("cancellation Cancelling\n");
  });

  test("whose flow ignores SIGTERM is killed after 30 s, its hooks run in its place", async () => {
    await using run = await startHooked("ignore_sigterm");
    await run.worker.waitForOutput(/^ready$/m, ENGINE_TIMEOUT_MS);
    await run.api.setState(run.id, "CANCELLING");
    await untilCancelled(run.api, run.id, 50_000);
    await untilNoProcess(run.worker);
    expect(await run.hooks()).toBe("cancellation Cancelling\n");
  }, 120_000);

  test("of a command that is not Prefect is ended with its grandchildren", async () => {
    const api = sharedApi();
    const pool = await newPool(api);
    const command = `${process.execPath} -e "require('child_process').spawn(process.execPath,['-e','setInterval(()=>0,1e3)']);console.log('plain');setInterval(()=>0,1e3)"`;
    const deployment = await deploy(api, pool, "hello", { jobVariables: { command } });
    await using worker = await startWorker(pool, { apiUrl: inject("apiUrl") });
    const { id } = await api.createFlowRun(deployment);
    await worker.waitForOutput(/^plain$/m, 20_000);
    await api.request("PATCH", `/flow_runs/${id}`, { infrastructure_pid: "1" });
    await api.setState(id, "CANCELLING", { force: true });
    await untilCancelled(api, id, 20_000);
    await untilNoProcess(worker);
  });

  test("is found by polling while the events socket is refused", async () => {
    const api = sharedApi();
    const pool = await newPool(api);
    const deployment = await deploy(api, pool, "hello", {
      jobVariables: { command: programCommand("ignore-sigterm.mjs") },
    });
    await using proxy = await startReverseProxy(inject("apiUrl"), { onUpgrade: () => 403 });
    await using worker = await startWorker(pool, { apiUrl: proxy.apiUrl, env: { PREFECT_WORKER_QUERY_SECONDS: "1" } });
    const { id } = await api.createFlowRun(deployment);
    await worker.waitForOutput(/^ready$/m, 20_000);
    await api.setState(id, "CANCELLING", { force: true });
    await worker.waitForOutput(/^ignored$/m, 20_000);
  });
});

describe("a flow run that is killed from outside", () => {
  test("ends as Crashed and has its crashed hooks run once", async () => {
    await using run = await startHooked("kill_self_with_hooks");
    const { flowRun } = await run.api.waitForState(run.id, ["CRASHED"], ENGINE_TIMEOUT_MS);
    expect(flowRun.state?.message).toMatch(/^Process exited with status code: -9\./);
    await waitFor(run.hooks, { timeoutMs: 30_000, what: "the hook's trace" });
    run.worker.signal("SIGTERM");
    await run.worker.exited;
    expect(await run.hooks()).toBe("crashed Crashed\n");
  });
});
