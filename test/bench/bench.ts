// `npm run bench`: lictor beside the reference worker, on one real server. One worker at a time.
import { parseArgs } from "node:util";
import { lictorVersion } from "../../src/version.ts";
import { inCheckout } from "../support/checkout.ts";
import { findPostgres } from "../support/postgres.ts";
import { prefectApi } from "../support/prefect-api.ts";
import { type PrefectServer, startPrefectServer, startServerOnPostgres } from "../support/prefect-server.ts";
import { ensurePythonEnvironment } from "../support/python-environment.ts";
import { startReverseProxy } from "../support/reverse-proxy.ts";
import { runScript } from "../support/run-script.ts";
import { withProgress } from "../support/with-progress.ts";
import type { Bench, Row, Sizes, WorkerKind } from "./bench-context.ts";
import { measureBacklog, measureBurst, measureLatency, measureRequests } from "./measure-flow-runs.ts";
import { measureGrowth } from "./measure-growth.ts";
import { measureIdle, measureInFlight } from "./measure-idle.ts";
import { type Limits, measureLimits } from "./measure-limits.ts";
import { measurePrograms } from "./measure-programs.ts";
import { measureStart, measureVersion } from "./measure-start.ts";
import { describeMachine, type MeasuredRow, type Results, resultTable, writeResults } from "./report.ts";

type Measurement = (bench: Bench, limits: Limits | null) => Promise<Row[]>;

/** What `--only` may name, in the order of the table. */
const measurements: Readonly<Record<string, Measurement>> = {
  latency: measureLatency,
  burst: measureBurst,
  backlog: measureBacklog,
  start: measureStart,
  version: measureVersion,
  idle: measureIdle,
  "in-flight": measureInFlight,
  requests: measureRequests,
  programs: measurePrograms,
  growth: measureGrowth,
};
/** Growth takes long, because 50 workers of the reference have to start. */
const onlyIfNamed = ["growth"];
const needLimits = ["latency", "backlog"];

const fullSizes: Sizes = {
  repeats: 15,
  burst: 40,
  bursts: 2,
  backlog: 100,
  inFlight: 500,
  idleSeconds: 120,
  settlingMs: 10_000,
  idleSettlingMs: 60_000,
};
const quickSizes: Sizes = {
  repeats: 1,
  burst: 4,
  bursts: 1,
  backlog: 20,
  inFlight: 30,
  idleSeconds: 10,
  settlingMs: 3_000,
  idleSettlingMs: 10_000,
};
/** They take more than a quick look. */
const notIfQuick = ["burst", "in-flight", "requests", "programs"];

interface Options {
  names: readonly string[];
  isQuick: boolean;
  database: "sqlite" | "postgres";
}

function readOptions(): Options {
  const { values } = parseArgs({
    options: {
      only: { type: "string", multiple: true, default: [] },
      quick: { type: "boolean", default: false },
      database: { type: "string", default: "sqlite" },
    },
  });
  const { database, quick: isQuick } = values;
  if (database !== "sqlite" && database !== "postgres") throw new Error("--database must be sqlite or postgres.");
  const named = values.only.flatMap((names) => names.split(","));
  const wrong = named.find((name) => !(name in measurements));
  if (wrong !== undefined) throw new Error(`--only ${wrong}: choose of ${Object.keys(measurements).join(", ")}.`);
  const usual = Object.keys(measurements).filter(
    (name) => !onlyIfNamed.includes(name) && !(isQuick && notIfQuick.includes(name)),
  );
  return { names: named.length > 0 ? named : usual, isQuick, database };
}

async function bench(stop: AbortSignal): Promise<void> {
  const options = readOptions();
  const environment = await ensurePythonEnvironment(say);
  const starting = options.database === "postgres" ? startOnPostgres() : startPrefectServer();
  await using server = await withProgress(say, "Starting a Prefect server", starting);
  await using proxy = await startReverseProxy(server.apiUrl);
  const { apiUrl } = server;
  const api = prefectApi(apiUrl);
  const kinds: readonly [WorkerKind, WorkerKind] = [
    {
      name: "lictor",
      command: [process.execPath, inCheckout("bin/lictor.js")],
      args: ["--python", environment.python],
    },
    { name: "prefect worker", command: [environment.python, "-m", "prefect"], args: [] },
  ];
  const sizes = options.isQuick ? quickSizes : fullSizes;
  const benchmark: Bench = { proxy, apiUrl, api, environment, kinds, sizes, say, stop };
  const limits = options.names.some((name) => needLimits.includes(name)) ? await measureLimits(benchmark) : null;
  const rows: MeasuredRow[] = [];
  for (const name of options.names) {
    stop.throwIfAborted();
    const measured = (await measurements[name]?.(benchmark, limits)) ?? [];
    rows.push(...measured.map((row) => ({ ...row, date: new Date().toISOString() })));
  }
  const results: Results = {
    machine: describeMachine(),
    versions: {
      lictor: lictorVersion,
      node: process.versions.node,
      prefect: await api.request<string>("GET", "/admin/version"),
      database: options.database,
    },
    limits,
    rows,
  };
  const { versions } = results;
  console.log(
    `\n${results.machine}. Node.js ${versions.node}, Prefect ${versions.prefect}, server and ${versions.database} on the same machine.`,
  );
  console.log(`\n${resultTable(results)}\n\n${explanation}`);
  if (options.isQuick) return;
  const written = await writeResults(results, Object.keys(measurements));
  console.log(`\nWritten: ${written.join(", ")}`);
}

const explanation = `Medians, with the middle half of the samples in brackets. Ratio: the reference's figure by lictor's.
Start → first poll: from spawn until the worker's first poll reaches a loopback proxy, both workers in turn.
CPU time: user and system time of the process, from wait4; a worker is killed at its first poll. One round warms up.
Memory: VmRSS, from /proc; when idle, of the worker and its processes together. CPU when idle: of all threads.
Requests: all that reach the proxy, WebSocket upgrades included; per flow run without those of an idle worker.
Created → a state: from the call that creates the flow run until the timestamp of the state, same clock.
At once: flow runs that were created one by one and are due at the same moment. Measured from that moment, without prefetch.
Launched: a flow run of the backlog appends a line to a file.
Command, flow in TypeScript, Python flow: lictor runs the named one, and the reference a Python flow that does the same.
Limit: a bare client subscribes to events, and then proposes Pending, Submitting and Running in a row.`;

/** Starts a server on a private PostgreSQL of the machine's own installation. */
async function startOnPostgres(): Promise<PrefectServer> {
  const installation = await findPostgres();
  if (typeof installation === "string") throw new Error(`--database postgres: ${installation}.`);
  return await startServerOnPostgres(installation);
}

function say(line: string): void {
  console.error(line);
}

await runScript("The bench failed", bench);
