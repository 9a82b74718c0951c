// Programs whose states the worker reports, beside a Python flow that does the same: it says that it runs, and waits.
import { mkdir, symlink } from "node:fs/promises";
import { join } from "node:path";
import { build } from "esbuild";
import type { JsonObject } from "../../src/api/wire.ts";
import { inCheckout } from "../support/checkout.ts";
import { makeTemporaryDirectory } from "../support/temporary-directory.ts";
import {
  type Bench,
  lookMs,
  pause,
  poolName,
  type Row,
  readUsage,
  startPolling,
  type WorkerKind,
} from "./bench-context.ts";

/** What a flow run executes, and the variables of its worker. */
interface Work {
  what: string;
  jobVariables?: JsonObject;
  env?: Record<string, string>;
}

/** The samples of one worker with one kind of work. */
interface Samples {
  runningMs: number[];
  completedMs: number[];
  /** Of the worker and the program together, per flow run, without those of an idle worker. */
  requests: number;
  residentMiB: number;
}

const pythonFlow = { entrypoint: "sleep.py:sleep", path: inCheckout("test/fixtures/flows") };
const endMs = 120_000;
/** A program that runs has all its memory after this time. */
const memoryMs = 2_000;
const idleMs = 20_000;
/** The last log records are sent after 2 s. */
const lastRequestsMs = 4_000;

/** Created → Running and Completed, requests and memory of each kind of work. The reference runs the Python flow. */
export async function measurePrograms(bench: Bench): Promise<Row[]> {
  await using directory = await makeTemporaryDirectory("lictor-bench-");
  await buildFlow(directory.path);
  const script = ["sh", "-c", 'echo ready; sleep "$0"', "{{ parameters.seconds }}"];
  const node = { program: [process.execPath, "sleep.mjs"], working_dir: directory.path, env: { LICTOR_FLOW: "sleep" } };
  const works: Work[] = [
    { what: "command", jobVariables: { program: script } },
    { what: "flow in TypeScript", jobVariables: node },
    { what: "Python flow, warm" },
    { what: "Python flow, cold", env: { LICTOR_ENGINE: "cold" } },
  ];
  const [lictor, reference] = bench.kinds;
  const theirs = await measure(bench, reference, { what: "Python flow" });
  const rows: Row[] = [];
  for (const work of works) {
    bench.stop.throwIfAborted();
    const ours = await measure(bench, lictor, work);
    const row = (what: string, unit: Row["unit"], of: (samples: Samples) => readonly number[]): Row => ({
      ...{ name: "programs", what: `${work.what}: ${what}`, unit, lictor: of(ours), reference: of(theirs), goal: null },
    });
    rows.push(
      row("created → Running", "ms", ({ runningMs }) => runningMs),
      row("created → Completed", "ms", ({ completedMs }) => completedMs),
      row("requests per flow run", "", ({ requests }) => [requests]),
      row("memory of the program", "MiB", ({ residentMiB }) => [residentMiB]),
    );
  }
  return rows;
}

/** Compiles the flow, because Node.js 20 runs no TypeScript, in a directory that has lictor installed. */
async function buildFlow(directory: string): Promise<void> {
  await mkdir(join(directory, "node_modules"));
  await symlink(inCheckout("."), join(directory, "node_modules", "lictor"));
  const entryPoints = [inCheckout("test/fixtures/flows/sleep.ts")];
  await build({ entryPoints, outfile: join(directory, "sleep.mjs"), format: "esm" });
}

async function measure(bench: Bench, kind: WorkerKind, { what, jobVariables, env = {} }: Work): Promise<Samples> {
  const { api, proxy, sizes, say, stop } = bench;
  const workPool = poolName(kind, "programs");
  await api.createWorkPool(workPool);
  const code = jobVariables === undefined ? pythonFlow : { jobVariables };
  const deployment = await api.createDeployment({ flowName: "sleep", name: workPool, workPool, ...code });
  await using worker = await startPolling(bench, kind, workPool, { env: { LICTOR_ENGINE_LAZY: "false", ...env } });
  await pause(sizes.settlingMs, stop);
  const before = proxy.requests.length;
  await pause(idleMs, stop);
  const perMs = (proxy.requests.length - before) / idleMs;
  const samples: Samples = { runningMs: [], completedMs: [], requests: 0, residentMiB: 0 };
  const run = async (): Promise<{ runningMs: number; completedMs: number }> => {
    const createdAt = Date.now();
    const { id } = await api.createFlowRun(deployment, { parameters: { seconds: 0 } });
    const { states } = await api.waitForState(id, ["COMPLETED"], endMs, lookMs);
    const msTo = (type: string): number =>
      Date.parse(states.find((state) => state.type === type)?.timestamp ?? "") - createdAt;
    return { runningMs: msTo("RUNNING"), completedMs: msTo("COMPLETED") };
  };
  // The first one warms up.
  await run();
  await pause(lastRequestsMs, stop);
  const from = { requests: proxy.requests.length, atMs: performance.now() };
  for (let round = 1; round <= sizes.repeats; round++) {
    await pause(Math.random() * 2_000, stop);
    const { runningMs, completedMs } = await run();
    say(`${kind.name}, ${what}, ${round} of ${sizes.repeats}: Running ${runningMs} ms, Completed ${completedMs} ms`);
    samples.runningMs.push(runningMs);
    samples.completedMs.push(completedMs);
  }
  await pause(lastRequestsMs, stop);
  const anyway = perMs * (performance.now() - from.atMs);
  samples.requests = (proxy.requests.length - from.requests - anyway) / sizes.repeats;
  const { id } = await api.createFlowRun(deployment, { parameters: { seconds: 3 * (memoryMs / 1_000) } });
  await api.waitForState(id, ["RUNNING"], endMs, lookMs);
  await pause(memoryMs, stop);
  samples.residentMiB = (await readUsage(await worker.program.descendants())).residentMiB;
  return samples;
}
