// What all measurements work with, and the two workers that they measure.
import { readdir, readFile } from "node:fs/promises";
import { setTimeout as delay } from "node:timers/promises";
import { type RunningProgram, startLictor } from "../support/lictor.ts";
import type { PrefectApi } from "../support/prefect-api.ts";
import type { PythonEnvironment } from "../support/python-environment.ts";
import type { ReverseProxy } from "../support/reverse-proxy.ts";
import { waitFor } from "../support/wait-for.ts";

/** A worker to measure; `args` are its own options of `worker start`. */
export interface WorkerKind {
  name: "lictor" | "prefect worker";
  command: readonly [string, ...string[]];
  args: readonly string[];
}

/** Workers reach the server through the proxy, which counts their requests. */
export interface Bench {
  proxy: ReverseProxy;
  /** The API itself. */
  apiUrl: string;
  api: PrefectApi;
  environment: PythonEnvironment;
  kinds: readonly [WorkerKind, WorkerKind];
  sizes: Sizes;
  say: (line: string) => void;
  stop: AbortSignal;
}

/** How much is measured. */
export interface Sizes {
  /** Starts, and flow runs one by one. */
  repeats: number;
  /** Real flow runs at once, and how often. */
  burst: number;
  bursts: number;
  backlog: number;
  inFlight: number;
  idleSeconds: number;
  /** For a worker to open its sockets after a start, and to send what follows a flow run. */
  settlingMs: number;
  /** For a worker to free the memory that its start took. */
  idleSettlingMs: number;
}

/** One line of the table. `lictor` and `reference` are the samples of the two workers. */
export interface Row {
  name: string;
  what: string;
  unit: Unit;
  lictor: readonly number[];
  reference: readonly number[];
  /** Null if the row has none. */
  goal: Goal | null;
}

/** What the table says of the goal, and whether it is met. */
export interface Goal {
  text: string;
  isMet: boolean;
}

/** What a figure counts; nothing for a plain number. */
export type Unit = "ms" | "MiB" | "s" | "/s" | "%" | "";

/** Returns a row of one figure of each worker. The goal is that lictor needs no more than the reference. */
export function noMoreRow(named: Pick<Row, "name" | "what" | "unit">, [lictor, reference]: [number, number]): Row {
  const goal = { text: "no more", isMet: lictor <= reference };
  return { ...named, lictor: [lictor], reference: [reference], goal };
}

/** The pause between two questions of the bench, because the server must have its time for the workers. */
export const lookMs = 1_000;

// The reference worker imports for seconds on a busy machine.
const firstPollMs = 120_000;

/** A worker that has polled. */
export interface PollingWorker extends AsyncDisposable {
  program: RunningProgram;
  firstPollMs: number;
}

/** Starts a worker and waits for its first poll, as the proxy sees it. */
export async function startPolling(
  { proxy }: Bench,
  kind: WorkerKind,
  pool: string,
  { name = "bench-worker", env = {} }: { name?: string; env?: Record<string, string> } = {},
): Promise<PollingWorker> {
  const seen = proxy.requests.length;
  const spawnedAtMs = performance.now();
  const program = await startLictor(["worker", "start", "--pool", pool, "--name", name, ...kind.args], {
    command: kind.command,
    env: { PREFECT_API_URL: proxy.apiUrl, ...env },
  });
  try {
    const poll = await waitFor(() => findPoll(proxy, pool, seen), {
      timeoutMs: firstPollMs,
      what: `the first poll of ${kind.name}`,
      intervalMs: 5,
    });
    return {
      program,
      firstPollMs: poll.atMs - spawnedAtMs,
      [Symbol.asyncDispose]: async () => await program[Symbol.asyncDispose](),
    };
  } catch (error) {
    await program[Symbol.asyncDispose]();
    throw error;
  }
}

/** Returns the first poll of the pool after the first `seen` requests. */
export function findPoll(
  { requests }: ReverseProxy,
  pool: string,
  seen: number,
): ReverseProxy["requests"][number] | undefined {
  return requests.slice(seen).find(({ path }) => path === `/work_pools/${pool}/get_scheduled_flow_runs`);
}

/** Memory and CPU time of processes, from /proc. CPU time is that of their living threads, in milliseconds. */
export async function readUsage(pids: readonly number[]): Promise<{ residentMiB: number; cpuMs: number }> {
  const usage = { residentMiB: 0, cpuMs: 0 };
  for (const pid of pids) {
    const status = await readFile(`/proc/${pid}/status`, "utf8").catch(() => "");
    usage.residentMiB += Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1] ?? 0) / 1024;
    for (const thread of await readdir(`/proc/${pid}/task`).catch(() => [])) {
      const schedule = await readFile(`/proc/${pid}/task/${thread}/schedstat`, "utf8").catch(() => "0");
      usage.cpuMs += Number(schedule.split(" ")[0]) / 1e6;
    }
  }
  return usage;
}

/** Measures both workers one after the other. */
export async function both<T>({ kinds, stop }: Bench, measure: (kind: WorkerKind) => Promise<T>): Promise<[T, T]> {
  const lictor = await measure(kinds[0]);
  stop.throwIfAborted();
  return [lictor, await measure(kinds[1])];
}

/** A work pool of its own for a measurement of one worker, with a deployment. Returns the deployment's id. */
export async function prepare(
  { api }: Bench,
  pool: string,
  deployment: { command?: string; entrypoint?: string; path?: string },
): Promise<string> {
  const { command, ...code } = deployment;
  await api.createWorkPool(pool);
  return await api.createDeployment({
    flowName: code.entrypoint?.split(":")[1]?.replace("_", "-") ?? "bench",
    name: pool,
    workPool: pool,
    ...code,
    jobVariables: command === undefined ? {} : { command },
  });
}

/** The name of a work pool for one worker. */
export function poolName(kind: WorkerKind, what: string): string {
  return `bench-${what}-${kind.name.replace(" ", "-")}-${Date.now() % 1e7}`;
}

/** Waits, unless the bench is stopped. */
export async function pause(ms: number, stop: AbortSignal): Promise<void> {
  await delay(ms, undefined, { signal: stop });
}
