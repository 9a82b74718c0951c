// `npm run bench`: lictor beside the reference worker, on one real server. One worker at a time.
import { cpus, totalmem } from "node:os";
import { parseArgs } from "node:util";
import { inCheckout } from "../support/checkout.ts";
import { markdownTable } from "../support/markdown-table.ts";
import { prefectApi } from "../support/prefect-api.ts";
import { startPrefectServer } from "../support/prefect-server.ts";
import { ensurePythonEnvironment } from "../support/python-environment.ts";
import { startReverseProxy } from "../support/reverse-proxy.ts";
import { runScript } from "../support/run-script.ts";
import { withProgress } from "../support/with-progress.ts";
import {
  type Bench,
  type Idle,
  measureIdle,
  measureStarts,
  measureTaking,
  type Taking,
  type WorkerKind,
} from "./measurements.ts";
import { formatQuantity, median, type Quantity, quantile } from "./statistics.ts";

/** How much is measured; fewer for a quick look. */
function readOptions(): { starts: number; idleSeconds: number; runs: number } {
  const { values } = parseArgs({
    options: {
      starts: { type: "string", default: "10" },
      "idle-seconds": { type: "string", default: "60" },
      runs: { type: "string", default: "20" },
    },
  });
  const read = (name: keyof typeof values) => {
    const value = Number(values[name]);
    if (!Number.isInteger(value) || value < 1) throw new Error(`--${name} must be a whole number of at least 1.`);
    return value;
  };
  return { starts: read("starts"), idleSeconds: read("idle-seconds"), runs: read("runs") };
}

async function bench(stop: AbortSignal): Promise<void> {
  const { starts, idleSeconds, runs } = readOptions();
  const environment = await ensurePythonEnvironment(say);
  await using server = await withProgress(say, "Starting a Prefect server", startPrefectServer());
  await using proxy = await startReverseProxy(server.apiUrl);
  const kinds: [WorkerKind, WorkerKind] = [
    {
      name: "lictor",
      command: [process.execPath, inCheckout("bin/lictor.js")],
      args: ["--python", environment.python],
    },
    { name: "prefect worker", command: [`${environment.bin}/prefect`], args: [] },
  ];
  const benchmark: Bench = { proxy, api: prefectApi(server.apiUrl), kinds, say, stop };

  const startMs = await measureStarts(benchmark, starts);
  const idle = await measureIdle(benchmark, idleSeconds);
  const taking = await measureTaking(benchmark, runs, idle);

  const row = (what: string, unit: Quantity, values: readonly [number, number]) => {
    const [lictor, reference] = values;
    return [
      what,
      formatQuantity(lictor, unit),
      formatQuantity(reference, unit),
      `${(reference / lictor).toFixed(1)} x`,
    ];
  };
  const both = (samples: readonly [number[], number[]], of: (values: number[]) => number): [number, number] => [
    of(samples[0]),
    of(samples[1]),
  ];
  const whileIdle = (of: (idle: Idle) => number): [number, number] => [of(idle[0]), of(idle[1])];
  const pickUpMs = taking.map(({ pickUpMs }) => pickUpMs) as [number[], number[]];
  const requestsPerRun = taking.map((taken: Taking) => taken.requestsPerRun) as [number, number];
  const p90 = (values: number[]) => quantile(values, 0.9);
  console.log(`\n${machineFacts(await prefectVersion(server.apiUrl))}\n`);
  console.log(
    markdownTable(
      ["", ...kinds.map((kind) => kind.name), "ratio"],
      [
        row(`start → first poll, median of ${starts}`, "ms", both(startMs, median)),
        row(
          `resident memory after ${idleSeconds} s idle`,
          "MiB",
          whileIdle(({ residentMiB }) => residentMiB),
        ),
        row(
          "of it anonymous",
          "MiB",
          whileIdle(({ anonymousMiB }) => anonymousMiB),
        ),
        row(
          "processes",
          "",
          whileIdle(({ processes }) => processes),
        ),
        row(
          "API requests per idle minute",
          "",
          whileIdle(({ requestsPerMinute }) => requestsPerMinute),
        ),
        row("API requests per flow run", "", requestsPerRun),
        row(`created → Pending, median of ${runs}`, "ms", both(pickUpMs, median)),
        row(`created → Pending, 90th percentile of ${runs}`, "ms", both(pickUpMs, p90)),
      ],
    ),
  );
  console.log(`
Start → first poll: from spawn until the worker's first get_scheduled_flow_runs reaches a loopback proxy, starts alternating.
Resident memory: VmRSS of the worker and all processes it has started, from /proc; anonymous: RssAnon, what the
system cannot reclaim without swap.
API requests: all that reach the proxy, WebSocket upgrades included; those per flow run without those of an idle worker. The
flow runs' command is \`true\`, so that no engine asks anything.
Created → Pending: from just before the call that creates the flow run until the timestamp of its Pending state, same clock.`);
}

async function prefectVersion(apiUrl: string): Promise<string> {
  return (await (await fetch(`${apiUrl}/admin/version`)).json()) as string;
}

function machineFacts(version: string): string {
  const [cpu] = cpus();
  const memory = `${Math.round(totalmem() / 2 ** 30)} GiB`;
  const machine = `${cpus().length} x ${cpu?.model.trim()}, ${memory}, ${process.platform} ${process.arch}`;
  return `Machine: ${machine}. Node ${process.versions.node}, Prefect ${version}, server and SQLite on the same machine.`;
}

function say(line: string): void {
  console.error(line);
}

await runScript("The bench failed", bench);
