// How soon flow runs are taken and run: one by one, many at once, and a backlog.
import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import type { FlowRun } from "../../src/api/wire.ts";
import { inCheckout } from "../support/checkout.ts";
import { finalTypes } from "../support/prefect-api.ts";
import { makeTemporaryDirectory } from "../support/temporary-directory.ts";
import { waitFor } from "../support/wait-for.ts";
import { withProgress } from "../support/with-progress.ts";
import {
  type Bench,
  both,
  lookMs,
  pause,
  poolName,
  prepare,
  type Row,
  startPolling,
  type WorkerKind,
} from "./bench-context.ts";
import type { Limits } from "./measure-limits.ts";
import { median } from "./statistics.ts";

const realFlow = { entrypoint: "hello.py:hello", path: inCheckout("test/fixtures/flows") };
const endMs = 600_000;
/** A burst is due so long after its creation begins: what each creation takes at most, and a pause. */
const creationMs = 1_000;
const burstAheadMs = 5_000;

/** Flow runs of the default command, one by one: from the call that creates one to its Pending and its Running state. */
export async function measureLatency(bench: Bench, limits: Limits | null): Promise<Row[]> {
  const { sizes, api, say, stop } = bench;
  const measure = async (kind: WorkerKind): Promise<{ pendingMs: number[]; runningMs: number[] }> => {
    const pool = poolName(kind, "latency");
    const deployment = await prepare(bench, pool, realFlow);
    await using _worker = await startPolling(bench, kind, pool);
    await pause(bench.sizes.settlingMs, stop);
    const samples = { pendingMs: [] as number[], runningMs: [] as number[] };
    // Round 0 warms up.
    for (let round = 0; round <= sizes.repeats; round++) {
      // Random, so that no worker's rhythm of polling falls in step with it.
      await pause(Math.random() * 3_000, stop);
      const createdAt = Date.now();
      const { id } = await api.createFlowRun(deployment);
      const { states } = await api.waitForState(id, ["COMPLETED"], endMs, lookMs);
      const msTo = (type: string): number =>
        Date.parse(states.find((state) => state.type === type)?.timestamp ?? "") - createdAt;
      say(
        `${kind.name}, flow run ${round} of ${sizes.repeats}: Pending ${msTo("PENDING")} ms, Running ${msTo("RUNNING")} ms`,
      );
      if (round === 0) continue;
      samples.pendingMs.push(msTo("PENDING"));
      samples.runningMs.push(msTo("RUNNING"));
    }
    return samples;
  };
  const [lictor, reference] = await both(bench, measure);
  const pending = median(reference.pendingMs) / median(lictor.pendingMs);
  const running = median(reference.runningMs) / median(lictor.runningMs);
  const limitMs = limits ? median(limits.runningMs) : Number.NaN;
  const aboveMs = median(lictor.runningMs) - limitMs;
  return [
    {
      name: "latency",
      what: "created → Pending",
      unit: "ms",
      lictor: lictor.pendingMs,
      reference: reference.pendingMs,
      goal: { text: "30 x faster", isMet: pending >= 30 },
    },
    {
      name: "latency",
      what: "created → Running",
      unit: "ms",
      lictor: lictor.runningMs,
      reference: reference.runningMs,
      goal: {
        text: `8 x faster, and 200 ms above the limit of ${limitMs.toFixed(0)} ms: ${aboveMs.toFixed(0)} ms`,
        isMet: running >= 8 && aboveMs <= 200,
      },
    },
  ];
}

/** Real flow runs that are due at the same moment, until all are Completed. */
export async function measureBurst(bench: Bench): Promise<Row[]> {
  const { sizes, say, stop } = bench;
  let completed = 0;
  const measure = async (kind: WorkerKind): Promise<number[]> => {
    const pool = poolName(kind, "burst");
    const deployment = await prepare(bench, pool, realFlow);
    // Neither worker may begin before the moment from which the time is measured.
    const env = { PREFECT_WORKER_PREFETCH_SECONDS: "0", LICTOR_ENGINE_LAZY: "false" };
    await using _worker = await startPolling(bench, kind, pool, { env });
    await pause(sizes.settlingMs, stop);
    const seconds: number[] = [];
    for (let round = 1; round <= sizes.bursts; round++) {
      const { ids, dueAt } = await createBurst(bench, deployment);
      const what = `${kind.name}: ${sizes.burst} flow runs at once`;
      const ended = await withProgress(say, what, untilAllEnded(bench, ids));
      if (kind.name === "lictor") completed += ended.filter(({ state_type }) => state_type === "COMPLETED").length;
      const endTimes = ended.map(({ state }) => Date.parse(state?.timestamp ?? ""));
      seconds.push((Math.max(...endTimes) - dueAt) / 1000);
    }
    return seconds;
  };
  const [lictor, reference] = await both(bench, measure);
  const count = sizes.burst * sizes.bursts;
  return [
    {
      name: "burst",
      what: `${sizes.burst} flow runs at once, until all are Completed`,
      unit: "s",
      lictor,
      reference,
      goal: {
        text: `8 x faster, ${completed} of ${count} Completed`,
        isMet: median(reference) / median(lictor) >= 8 && completed === count,
      },
    },
  ];
}

/**
 * Creates flow runs one by one, because SQLite answers 503 to many that are created at once. Returns their ids and the
 * moment at which all of them are due. Throws if the server took too long.
 */
async function createBurst({ sizes, api, stop }: Bench, deployment: string): Promise<{ ids: string[]; dueAt: number }> {
  const scheduledTime = new Date(Date.now() + burstAheadMs + sizes.burst * creationMs);
  const ids: string[] = [];
  for (let count = 0; count < sizes.burst; count++) {
    stop.throwIfAborted();
    ids.push((await api.createFlowRun(deployment, { scheduledTime })).id);
  }
  const dueAt = scheduledTime.getTime();
  if (Date.now() >= dueAt) throw new Error(`the server took too long to create ${sizes.burst} flow runs`);
  return { ids, dueAt };
}

/** Waits until the flow runs have ended, with few questions, because each takes processor time of the server. */
async function untilAllEnded({ api, stop }: Bench, ids: readonly string[]): Promise<FlowRun[]> {
  const filter = { flow_runs: { id: { any_: ids }, state: { type: { any_: finalTypes } } } };
  const haveEnded = async (): Promise<boolean> => {
    stop.throwIfAborted();
    return (await api.request<number>("POST", "/flow_runs/count", filter)) === ids.length;
  };
  await waitFor(haveEnded, { timeoutMs: endMs, what: "all flow runs to end", intervalMs: lookMs });
  return await api.request<FlowRun[]>("POST", "/flow_runs/filter", filter);
}

/** A backlog of scheduled flow runs, from the worker's first poll until the program of each has been started. */
export async function measureBacklog(bench: Bench, limits: Limits | null): Promise<Row[]> {
  const { sizes, api, proxy, stop } = bench;
  const measure = async (kind: WorkerKind): Promise<{ ms: number; statesPerSecond: number }> => {
    await using directory = await makeTemporaryDirectory("lictor-bench-");
    const file = join(directory.path, "launched");
    const pool = poolName(kind, "backlog");
    const deployment = await prepare(bench, pool, { command: `sh -c 'echo >> ${file}'` });
    for (let count = 0; count < sizes.backlog; count++) await api.createFlowRun(deployment);
    const before = proxy.requests.length;
    const polledFrom = Date.now();
    await using worker = await startPolling(bench, kind, pool);
    const polledAt = polledFrom + worker.firstPollMs;
    const areAllLaunched = async (): Promise<boolean> => {
      stop.throwIfAborted();
      return (await readFile(file, "utf8").catch(() => "")).length >= sizes.backlog;
    };
    const launching = waitFor(areAllLaunched, {
      timeoutMs: endMs,
      what: "all flow runs to be launched",
      intervalMs: 100,
    });
    await withProgress(bench.say, `${kind.name}: a backlog of ${sizes.backlog} flow runs`, launching);
    const { mtimeMs } = await stat(file);
    const proposed = proxy.requests
      .slice(before)
      .filter(({ path }) => path.endsWith("/set_state"))
      .slice(0, 2 * sizes.backlog);
    const spanMs = (proposed.at(-1)?.atMs ?? 0) - (proposed[0]?.atMs ?? 0);
    return { ms: mtimeMs - polledAt, statesPerSecond: ((proposed.length - 1) * 1000) / spanMs };
  };
  const rounds = Array.from({ length: sizes.bursts });
  const samples: [{ ms: number; statesPerSecond: number }, { ms: number; statesPerSecond: number }][] = [];
  for (const _ of rounds) samples.push(await both(bench, measure));
  const of = (index: 0 | 1, key: "ms" | "statesPerSecond"): number[] => samples.map((sample) => sample[index][key]);
  const limit = limits?.eightClientsPerSecond ?? Number.NaN;
  const rate = median(of(0, "statesPerSecond"));
  return [
    {
      name: "backlog",
      what: `backlog of ${sizes.backlog} flow runs, until all are launched`,
      unit: "ms",
      lictor: of(0, "ms"),
      reference: of(1, "ms"),
      goal: { text: "10 x faster", isMet: median(of(1, "ms")) / median(of(0, "ms")) >= 10 },
    },
    {
      name: "backlog",
      what: "meanwhile, proposed states",
      unit: "/s",
      lictor: of(0, "statesPerSecond"),
      reference: of(1, "statesPerSecond"),
      goal: {
        text: `80 % of the server's ${limit.toFixed(0)} /s with 8 clients: ${((rate / limit) * 100).toFixed(0)} %`,
        isMet: rate >= 0.8 * limit,
      },
    },
  ];
}

/** The requests of the worker per flow run, without those of an idle worker. The command asks nothing itself. */
export async function measureRequests(bench: Bench): Promise<Row[]> {
  const { sizes, api, proxy, say, stop } = bench;
  const measure = async (kind: WorkerKind): Promise<number> => {
    const pool = poolName(kind, "requests");
    const deployment = await prepare(bench, pool, { command: "true" });
    await using _worker = await startPolling(bench, kind, pool);
    await pause(bench.sizes.settlingMs, stop);
    const idle = { requests: proxy.requests.length, atMs: performance.now() };
    await withProgress(say, `${kind.name} idles, to count its requests`, pause(30_000, stop));
    const before = { requests: proxy.requests.length, atMs: performance.now() };
    const perMs = (before.requests - idle.requests) / (before.atMs - idle.atMs);
    for (let run = 0; run < sizes.repeats; run++) {
      await pause(300 + Math.random() * 1200, stop);
      await api.createFlowRun(deployment);
    }
    // The reference takes the last one after up to 15 s, and sends the last log records 2 s later.
    await withProgress(say, `${kind.name} takes ${sizes.repeats} flow runs`, pause(20_000, stop));
    const anyway = perMs * (performance.now() - before.atMs);
    return (proxy.requests.length - before.requests - anyway) / sizes.repeats;
  };
  const [lictor, reference] = await both(bench, measure);
  return [
    {
      name: "requests",
      what: "the worker's requests per flow run",
      unit: "",
      lictor: [lictor],
      reference: [reference],
      goal: { text: "6", isMet: lictor <= 6 },
    },
  ];
}
