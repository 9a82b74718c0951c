// What is measured of lictor and of the reference worker, in the same way for both.
import { readFile } from "node:fs/promises";
import { setTimeout as delay } from "node:timers/promises";
import { type RunningProgram, startLictor } from "../support/lictor.ts";
import type { PrefectApi } from "../support/prefect-api.ts";
import type { ReverseProxy } from "../support/reverse-proxy.ts";
import { waitFor } from "../support/wait-for.ts";
import { withProgress } from "../support/with-progress.ts";

/** A worker to measure; `args` are its own options of `worker start`. */
export interface WorkerKind {
  name: string;
  command: readonly [string, ...string[]];
  args: readonly string[];
}

/** What all measurements work with. Workers reach the server through the proxy. */
export interface Bench {
  proxy: ReverseProxy;
  api: PrefectApi;
  kinds: readonly [WorkerKind, WorkerKind];
  say: (line: string) => void;
  stop: AbortSignal;
}

/** Memory of a worker and all processes it has started, and what it asks of the API meanwhile. */
export interface Idle {
  residentMiB: number;
  anonymousMiB: number;
  processes: number;
  requestsPerMinute: number;
}

/** How flow runs are taken: how soon each, and with how many requests, those of an idle worker apart. */
export interface Taking {
  pickUpMs: number[];
  requestsPerRun: number;
}

/** For a worker to open its sockets after a start, and to send what follows a flow run. */
const SETTLING_MS = 10_000;

// The reference worker imports for seconds on a busy machine.
const FIRST_POLL_MS = 60_000;

/** Milliseconds from spawn to first poll, `count` of each kind, alternating so that both meet the same conditions. */
export async function measureStarts(bench: Bench, count: number): Promise<[number[], number[]]> {
  const samples: [number[], number[]] = [[], []];
  await bench.api.createWorkPool("bench-start");
  for (let round = 1; round <= count; round++) {
    for (const [index, kind] of bench.kinds.entries()) {
      bench.stop.throwIfAborted();
      await using worker = await startPolling(bench, kind, "bench-start");
      samples[index]?.push(worker.firstPollMs);
      bench.say(`start ${round} of ${count}, ${kind.name}: ${Math.round(worker.firstPollMs)} ms`);
    }
  }
  return samples;
}

/** Each kind after `seconds` without a flow run, once its sockets are open. */
export async function measureIdle(bench: Bench, seconds: number): Promise<[Idle, Idle]> {
  await bench.api.createWorkPool("bench-idle");
  const measure = async (kind: WorkerKind) => {
    await using worker = await startPolling(bench, kind, "bench-idle");
    await delay(SETTLING_MS, undefined, { signal: bench.stop });
    const before = bench.proxy.requests.length;
    const idle = delay(seconds * 1000, undefined, { signal: bench.stop });
    await withProgress(bench.say, `${kind.name} idles for ${seconds} s`, idle);
    const requestsPerMinute = ((bench.proxy.requests.length - before) * 60) / seconds;
    return { ...(await readMemory(worker.program)), requestsPerMinute };
  };
  return [await measure(bench.kinds[0]), await measure(bench.kinds[1])];
}

async function readMemory(program: RunningProgram): Promise<Omit<Idle, "requestsPerMinute">> {
  const pids = [program.pid, ...(await program.descendants())];
  const memory = { residentMiB: 0, anonymousMiB: 0, processes: pids.length };
  for (const pid of pids) {
    const status = await readFile(`/proc/${pid}/status`, "utf8");
    memory.residentMiB += Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]) / 1024;
    memory.anonymousMiB += Number(/^RssAnon:\s+(\d+) kB$/m.exec(status)?.[1]) / 1024;
  }
  return memory;
}

/** Milliseconds from the creation of an ad-hoc flow run to its Pending state, and requests, for `count` of each kind. */
export async function measureTaking(
  bench: Bench,
  count: number,
  idle: readonly [Idle, Idle],
): Promise<[Taking, Taking]> {
  const measure = async (kind: WorkerKind, { requestsPerMinute }: Idle): Promise<Taking> => {
    const pool = `bench-pick-up-${kind.name.replace(" ", "-")}`;
    await bench.api.createWorkPool(pool);
    // A command that ends at once: what is measured is the worker, not Python engines beside it.
    const deployment = { flowName: "bench", name: pool, workPool: pool, jobVariables: { command: "true" } };
    const deploymentId = await bench.api.createDeployment(deployment);
    await using _worker = await startPolling(bench, kind, pool);
    await delay(SETTLING_MS, undefined, { signal: bench.stop });
    const before = { requests: bench.proxy.requests.length, atMs: performance.now() };
    const taking = takeFlowRuns(bench, deploymentId, count);
    const pickUpMs = await withProgress(bench.say, `${kind.name} takes ${count} flow runs`, taking);
    // The last log records follow after two seconds.
    await delay(SETTLING_MS, undefined, { signal: bench.stop });
    const anyway = (requestsPerMinute * (performance.now() - before.atMs)) / 60_000;
    return { pickUpMs, requestsPerRun: (bench.proxy.requests.length - before.requests - anyway) / count };
  };
  return [await measure(bench.kinds[0], idle[0]), await measure(bench.kinds[1], idle[1])];
}

async function takeFlowRuns({ api, stop }: Bench, deploymentId: string, count: number): Promise<number[]> {
  // Workers poll every 10 s: without this the first runs would always come just after a poll.
  await delay(Math.random() * 10_000, undefined, { signal: stop });
  const created: { id: string; atMs: number }[] = [];
  for (let run = 0; run < count; run++) {
    // Random, so that neither worker's rhythm of polling falls in step with it.
    await delay(300 + Math.random() * 1200, undefined, { signal: stop });
    const atMs = Date.now();
    created.push({ id: (await api.createFlowRun(deploymentId)).id, atMs });
  }
  const pendingAtMs = async (id: string) => {
    const findPending = async () => {
      stop.throwIfAborted();
      return (await api.readStates(id)).find((state) => state.type === "PENDING");
    };
    const pending = await waitFor(findPending, { timeoutMs: 60_000, what: `Pending of ${id}`, intervalMs: 500 });
    return Date.parse(pending.timestamp ?? "");
  };
  return await Promise.all(created.map(async ({ id, atMs }) => (await pendingAtMs(id)) - atMs));
}

interface PollingWorker extends AsyncDisposable {
  program: RunningProgram;
  firstPollMs: number;
}

/** Starts a worker and waits for its first poll, as the proxy sees it. */
async function startPolling({ proxy }: Bench, kind: WorkerKind, pool: string): Promise<PollingWorker> {
  const seen = proxy.requests.length;
  const path = `/work_pools/${pool}/get_scheduled_flow_runs`;
  const spawnedAtMs = performance.now();
  const program = await startLictor(["worker", "start", "--pool", pool, "--name", "bench-worker", ...kind.args], {
    command: kind.command,
    env: { PREFECT_API_URL: proxy.apiUrl },
  });
  const dispose = async () => await program[Symbol.asyncDispose]();
  try {
    const findPoll = () => proxy.requests.slice(seen).find((request) => request.path === path);
    const poll = await waitFor(findPoll, {
      timeoutMs: FIRST_POLL_MS,
      what: `the first poll of ${kind.name}`,
      intervalMs: 5,
    });
    return { program, firstPollMs: poll.atMs - spawnedAtMs, [Symbol.asyncDispose]: dispose };
  } catch (error) {
    await dispose();
    throw error;
  }
}
