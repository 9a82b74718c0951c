// Many workers on one work pool: each flow run is executed exactly once, on SQLite and on PostgreSQL.
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { startBusyProcesses } from "../support/busy-processes.ts";
import { isFull } from "../support/is-full.ts";
import type { RunningProgram } from "../support/lictor.ts";
import { findPostgres } from "../support/postgres.ts";
import { type PrefectApi, prefectApi } from "../support/prefect-api.ts";
import { endAsNotApplicable } from "../support/prefect-release.ts";
import { type PrefectServer, startPrefectServer, startServerOnPostgres } from "../support/prefect-server.ts";
import { type ReverseProxy, startReverseProxy } from "../support/reverse-proxy.ts";
import { startWorker, type WorkerOptions } from "../support/start-worker.ts";
import { makeTemporaryDirectory } from "../support/temporary-directory.ts";
import { waitFor } from "../support/wait-for.ts";
import { deploy, newPool, programCommand } from "./deployments.ts";

/** Workers, and flow runs: 500 in a full run. */
const cases: [workers: number, flowRuns: number][] = isFull
  ? [
      [2, 150],
      [3, 150],
      [5, 200],
    ]
  : [[5, 20]];
const TIMEOUT_MS = isFull ? 2_400_000 : 480_000;

/** What became of the flow runs of one work pool. */
interface Outcome {
  /** Times each flow run was executed, by id. */
  executions: Map<string, number>;
  /** How many flow runs ended in each state. */
  ends: Map<string, number>;
}

/** Creates half of the flow runs, starts the workers, creates the others meanwhile, and waits until all have ended. */
async function execute(apiUrl: string, workers: number, flowRuns: number): Promise<Outcome> {
  await using directory = await makeTemporaryDirectory("lictor-many-");
  const api = prefectApi(apiUrl);
  const pool = await newPool(api);
  const log = join(directory.path, "executions");
  const command = programCommand("report-completed.mjs", log);
  const deployment = await deploy(api, pool, "hello", { jobVariables: { command } });
  const ids: string[] = [];
  const create = async (until: number) => {
    while (ids.length < until) ids.push((await api.createFlowRun(deployment)).id);
  };
  await create(flowRuns / 2);
  const [started] = await Promise.all([startWorkers(pool, workers, { apiUrl }), create(flowRuns)]);
  await using _workers = started;
  const read = async () => (await readFile(log, "utf8").catch(() => "")).split("\n").filter(Boolean);
  await waitFor(async () => new Set(await read()).size === flowRuns, {
    timeoutMs: TIMEOUT_MS / 3,
    what: `${flowRuns} executions`,
    intervalMs: 500,
  });
  const ends = await waitFor(
    async () => {
      const types = await readTypes(api, ids);
      return [...types.keys()].every((type) => type === "COMPLETED") ? types : undefined;
    },
    { timeoutMs: 60_000, what: "all flow runs to be Completed", intervalMs: 500 },
  );
  // What a worker has claimed twice is executed before its drain is over.
  for (const worker of started.list) worker.signal("SIGTERM");
  for (const worker of started.list) expect(await worker.exited).toEqual({ code: 0, signal: null });
  return { executions: count(await read()), ends };
}

/** Starts workers with names of their own, all at once. */
async function startWorkers(
  pool: string,
  workers: number,
  options: Omit<WorkerOptions, "name">,
): Promise<AsyncDisposable & { list: readonly RunningProgram[] }> {
  const names = Array.from({ length: workers }, (_, index) => `worker-${index}`);
  const list = await Promise.all(names.map((name) => startWorker(pool, { ...options, name })));
  return {
    list,
    [Symbol.asyncDispose]: async () => void (await Promise.all(list.map((each) => each[Symbol.asyncDispose]()))),
  };
}

async function readTypes(api: PrefectApi, ids: readonly string[]): Promise<Map<string, number>> {
  return count(await Promise.all(ids.map(async (id) => (await api.readFlowRun(id)).state_type ?? "none")));
}

function count(items: readonly string[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const item of items) counts.set(item, (counts.get(item) ?? 0) + 1);
  return counts;
}

async function expectOnce(server: PrefectServer): Promise<void> {
  // In a short run, the tests beside this one are load enough.
  await using _load = startBusyProcesses(isFull ? 2 : 0);
  for (const [workers, flowRuns] of cases) {
    const { executions, ends } = await execute(server.apiUrl, workers, flowRuns);
    expect(executions.size).toBe(flowRuns);
    expect([...executions].filter(([, times]) => times > 1)).toEqual([]);
    expect(ends).toEqual(new Map([["COMPLETED", flowRuns]]));
  }
}

describe("each flow run is executed once by several workers on a loaded machine", () => {
  test("on SQLite", { timeout: TIMEOUT_MS }, async () => {
    await using server = await startPrefectServer();
    await expectOnce(server);
  });

  test.runIf(isFull)("on PostgreSQL", { timeout: TIMEOUT_MS }, async () => {
    const installation = await findPostgres();
    if (typeof installation === "string") return endAsNotApplicable(installation);
    await using server = await startServerOnPostgres(installation);
    await expectOnce(server);
  });
});

describe("workers that know each other", () => {
  // On a loaded machine, the event of a claim comes later than the second choice waits: then all of them claim and poll.
  test.runIf(isFull)("claim and poll for a flow run about once, not once each", { timeout: TIMEOUT_MS }, async () => {
    const [workers, flowRuns] = [4, 12];
    await using server = await startPrefectServer();
    await using proxy = await startReverseProxy(server.apiUrl);
    const api = prefectApi(server.apiUrl);
    const pool = await newPool(api);
    const command = `${process.execPath} -e 0`;
    const deployment = await deploy(api, pool, "hello", { jobVariables: { command } });
    const env = { PREFECT_WORKER_QUERY_SECONDS: "60" };
    await using _workers = await startWorkers(pool, workers, { apiUrl: proxy.apiUrl, env });
    await allKnown(proxy, workers);
    const before = proxy.requests.length;
    for (let created = 0; created < flowRuns; created++) {
      const { id } = await api.createFlowRun(deployment);
      await api.waitForState(id, ["PENDING"], 20_000);
    }
    const since = proxy.requests.slice(before);
    const claims = since.filter(({ path, body }) => path.endsWith("/set_state") && body.includes('"name":"Pending"'));
    const polls = since.filter(({ path }) => path.endsWith("/get_scheduled_flow_runs"));
    expect(claims.length).toBeLessThan(flowRuns * 3);
    expect(polls.length).toBeLessThan(flowRuns * workers);
  });
});

/** Waits until each worker has read the list of workers after all had sent a heartbeat. */
async function allKnown(proxy: ReverseProxy, workers: number): Promise<void> {
  const readers = () =>
    new Set(
      proxy.requests
        .filter(({ path }) => path.endsWith("/workers/filter"))
        .map(({ headers }) => headers["x-prefect-worker-name"]),
    );
  await waitFor(() => readers().size === workers, { timeoutMs: 60_000, what: "all workers to list each other" });
}
