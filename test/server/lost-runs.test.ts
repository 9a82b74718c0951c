// What becomes of the flow runs of a worker that is gone together with its disk, as with its container.
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { beforeEach, describe, expect, inject, test } from "vitest";
import { aborted } from "../../src/async/sleep.ts";
import { isPrefectSince, needsPrefect } from "../support/prefect-release.ts";
import { isAlive, pidsWithEnvironment, signalProcess } from "../support/processes.ts";
import { startReverseProxy } from "../support/reverse-proxy.ts";
import { startWorker, type WorkerOptions } from "../support/start-worker.ts";
import { makeTemporaryDirectory } from "../support/temporary-directory.ts";
import { waitFor } from "../support/wait-for.ts";
import { deploy, newPool, sharedApi } from "./deployments.ts";

const ENGINE_TIMEOUT_MS = 120_000;
// The server says OFFLINE after three heartbeats, and looks every 15 s.
const SETTLING_TIMEOUT_MS = 150_000;

const env = { PREFECT_WORKER_HEARTBEAT_SECONDS: "2", LICTOR_LOST_AFTER_SECONDS: "6" };

const heartbeatsSince = "3.6.13";
const needsHeartbeats = () => needsPrefect(heartbeatsSince, "heartbeats of engines");

type Worker = Awaited<ReturnType<typeof startWorker>>;

/** Each worker has a state directory of its own, as in a new container. */
async function openPool() {
  const api = sharedApi();
  const pool = await newPool(api);
  const files = await makeTemporaryDirectory("lictor-hooks-");
  const file = join(files.path, "hooks");
  /** Deploys a flow of test/fixtures/flows/hooks.py. */
  const deployHooked = (flow: string) =>
    deploy(api, pool, "hello", { entrypoint: `hooks.py:${flow}`, jobVariables: { env: { HOOKS_FILE: file } } });
  /** A flow run that executes, and whose engine has said so. */
  const startFlowRun = async (seconds: number): Promise<string> => {
    const { id } = await api.createFlowRun(await deployHooked("work_with_hooks"), { parameters: { seconds } });
    await api.waitForState(id, ["RUNNING"], ENGINE_TIMEOUT_MS);
    if (!isPrefectSince(heartbeatsSince)) return id;
    const filter = { resource: { id: [`prefect.flow-run.${id}`] }, event: { name: ["prefect.flow-run.heartbeat"] } };
    await waitFor(async () => (await api.readEvents(filter)).length > 0, { timeoutMs: 30_000, what: "a heartbeat" });
    return id;
  };
  const start = async (name: string, options: Partial<WorkerOptions> = {}) =>
    await startWorker(pool, { apiUrl: inject("apiUrl"), name, env, ...options });
  /** Kills the worker and everything that it has started, and waits until the server says so. */
  const killTree = async (worker: Worker, flowRunId: string): Promise<void> => {
    const engines = await pidsWithEnvironment("PREFECT__FLOW_RUN_ID", flowRunId);
    worker.signal("SIGKILL");
    for (const pid of engines) signalProcess(pid, "SIGKILL");
    await worker.exited;
    await waitFor(() => !engines.some(isAlive), { timeoutMs: 10_000, what: "the engine to end" });
    const isOffline = async () => (await api.readWorkers(pool)).every(({ status }) => status === "OFFLINE");
    await waitFor(isOffline, { timeoutMs: 120_000, what: "the worker to be offline" });
  };
  /** Waits for the first line of a hook, and returns all of them after the workers have ended. */
  const hooksAfter = async (stop: () => Promise<void>): Promise<string> => {
    await waitFor(async () => await readFile(file, "utf8").catch(() => ""), {
      timeoutMs: ENGINE_TIMEOUT_MS,
      what: "the hooks",
    });
    await stop();
    return await readFile(file, "utf8");
  };
  const dispose = async () => await files[Symbol.asyncDispose]();
  return { api, pool, start, deployHooked, startFlowRun, killTree, hooksAfter, [Symbol.asyncDispose]: dispose };
}

async function endGently(workers: readonly Worker[]): Promise<void> {
  for (const worker of workers) worker.signal("SIGTERM");
  await Promise.all(workers.map(({ exited }) => exited));
}

/** Starts two workers at the same moment, so that they sweep at the same moments. */
async function startBoth(start: Awaited<ReturnType<typeof openPool>>["start"], args: string[] = []) {
  const workers = await Promise.all([start("next", { args }), start("other", { args })]);
  return {
    end: async () => await endGently(workers),
    stderr: () => workers.map(({ stderr }) => stderr).join(""),
    [Symbol.asyncDispose]: async () => {
      await Promise.all(workers.map(async (worker) => await worker[Symbol.asyncDispose]()));
    },
  };
}

describe("a flow run that died with its worker's disk", { timeout: 300_000 }, () => {
  beforeEach(() => needsPrefect("3.1.0", "labels of flow runs"));

  test.concurrent("becomes Crashed once, and has its hooks run once, even if two workers see it", async () => {
    needsHeartbeats();
    await using pool = await openPool();
    const { api, start, startFlowRun, killTree, hooksAfter } = pool;
    await using first = await start("first");
    const id = await startFlowRun(200);
    await killTree(first, id);
    await using sweepers = await startBoth(start);
    const { flowRun, states } = await api.waitForState(id, ["CRASHED"], SETTLING_TIMEOUT_MS);
    expect(flowRun.state?.message).toMatch(
      /^Worker 'first' on host '.*' is gone, and nothing was heard of .* for 6 s\.$/,
    );
    expect(states.filter(({ type }) => type === "CRASHED")).toHaveLength(1);
    expect(sweepers.stderr()).toMatch(/Worker 'first' on host '.*' is gone/);
    expect(await hooksAfter(sweepers.end)).toBe("crashed Crashed\n");
  });

  test("is executed once more with --on-lost reschedule, even if two workers see it", async () => {
    needsHeartbeats();
    await using pool = await openPool();
    const { api, start, startFlowRun, killTree } = pool;
    await using first = await start("first");
    const id = await startFlowRun(20);
    await killTree(first, id);
    await using _sweepers = await startBoth(start, ["--on-lost", "reschedule"]);
    const { states } = await api.waitForState(id, ["COMPLETED"], SETTLING_TIMEOUT_MS + ENGINE_TIMEOUT_MS);
    expect(states.filter(({ type }) => type === "RUNNING")).toHaveLength(2);
    expect(states.filter(({ message }) => message?.startsWith("Scheduled again:"))).toHaveLength(1);
  });

  test.concurrent("is scheduled again if it was claimed and never began, although its labels were not sent", async () => {
    await using opened = await openPool();
    const { api, pool, start, killTree } = opened;
    const over = new AbortController();
    await using proxy = await startReverseProxy(inject("apiUrl"), {
      onRequest: async ({ path, body }) => {
        if (!path.endsWith("/labels") && !body.includes('"name":"Submitting"')) return undefined;
        await aborted(over.signal);
        return { status: 503 };
      },
    });
    await using first = await start("first", { apiUrl: proxy.apiUrl });
    const { id } = await api.createFlowRun(await deploy(api, pool, "hello"));
    const isClaimed = async () =>
      (await api.readFlowRun(id)).state?.message?.startsWith("Claimed by worker 'first' on host ");
    await waitFor(isClaimed, { timeoutMs: 60_000, what: "the claim" });
    await killTree(first, id);
    over.abort();
    await using _next = await start("next");
    const { states } = await api.waitForState(id, ["COMPLETED"], SETTLING_TIMEOUT_MS + ENGINE_TIMEOUT_MS);
    expect(states.map(({ message }) => message)).toContain("Scheduled again: its worker died before it was started.");
    expect(states.filter(({ type }) => type === "RUNNING")).toHaveLength(1);
    const { labels } = await api.readFlowRun(id);
    expect(labels?.["prefect.worker.name"]).toBe("next");
  });

  test.concurrent("becomes Crashed if its engine waited for its next attempt, which no poll returns", async () => {
    await using pool = await openPool();
    const { api, start, deployHooked, killTree, hooksAfter } = pool;
    await using first = await start("first");
    const { id } = await api.createFlowRun(await deployHooked("fail_and_wait"));
    const isWaiting = async () => (await api.readFlowRun(id)).state_name === "AwaitingRetry";
    await waitFor(isWaiting, { timeoutMs: ENGINE_TIMEOUT_MS, what: "the wait for the next attempt", intervalMs: 100 });
    await killTree(first, id);
    await using next = await start("next");
    const { states } = await api.waitForState(id, ["CRASHED"], SETTLING_TIMEOUT_MS);
    expect(states.map(({ name }) => name).slice(-2)).toEqual(["AwaitingRetry", "Crashed"]);
    expect(await hooksAfter(async () => await endGently([next]))).toBe("crashed Crashed\n");
  });

  test.concurrent("becomes Cancelled if it is cancelled, and has its hooks run", async () => {
    await using pool = await openPool();
    const { api, start, startFlowRun, killTree, hooksAfter } = pool;
    await using first = await start("first");
    const id = await startFlowRun(200);
    await killTree(first, id);
    await api.setState(id, "CANCELLING");
    await using next = await start("next");
    const { flowRun } = await api.waitForState(id, ["CANCELLED"], SETTLING_TIMEOUT_MS);
    expect(flowRun.state?.message).toBe("Flow run was cancelled successfully.");
    expect(await hooksAfter(async () => await endGently([next]))).toBe("cancellation Cancelling\n");
  });
});

test("a quiet flow run of a worker that lives is never settled", async () => {
  await using opened = await openPool();
  const { api, pool, start } = opened;
  // With the usual heartbeats, a busy server does not take it for offline.
  await using _first = await start("first", { env: {} });
  const { id } = await api.createFlowRun(await deploy(api, pool, "sleep"), { parameters: { seconds: 30 } });
  await api.waitForState(id, ["RUNNING"], ENGINE_TIMEOUT_MS);
  await using next = await start("next", { env: { ...env, LICTOR_LOST_AFTER_SECONDS: "2" } });
  await api.waitForState(id, ["COMPLETED"], ENGINE_TIMEOUT_MS);
  expect(next.stderr).not.toMatch(/is gone/);
});
