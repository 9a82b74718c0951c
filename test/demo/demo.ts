// `npm run demo`: lictor at work on a real Prefect server, from nothing to completed flow runs.
import { dirname } from "node:path";
import { build } from "esbuild";
import { LinkedController } from "../../src/async/linked-controller.ts";
import { inCheckout } from "../support/checkout.ts";
import { runLictor } from "../support/lictor.ts";
import { markdownTable } from "../support/markdown-table.ts";
import { type PrefectApi, prefectApi } from "../support/prefect-api.ts";
import { startPrefectServer } from "../support/prefect-server.ts";
import { ensurePythonEnvironment } from "../support/python-environment.ts";
import { runScript } from "../support/run-script.ts";
import { startWorker } from "../support/start-worker.ts";
import { withProgress } from "../support/with-progress.ts";
import { type FinishedRun, followFlowRun } from "./follow-flow-run.ts";

const POOL = "demo-pool";

interface DemoRun {
  /** The flow's parameter. */
  below: number;
  aheadMs?: number;
}

// The last run can be seen to wait for its time.
const RUNS: readonly DemoRun[] = [
  { below: 100 },
  { below: 10_000 },
  { below: 1_000_000 },
  { below: 5_000_000, aheadMs: 3_000 },
];

// Four cold Python engines side by side on a slow machine.
const ALL_COMPLETED_MS = 120_000;

async function demo(stop: AbortSignal): Promise<void> {
  await completeFlowRuns(stop);
  say("Done: worker and server are stopped, their files removed.");
}

async function completeFlowRuns(stop: AbortSignal): Promise<void> {
  await ensurePythonEnvironment(say);
  stop.throwIfAborted();
  await using server = await withProgress(
    say,
    "Starting a Prefect server with an empty database",
    startPrefectServer(),
  );
  stop.throwIfAborted();
  say(`The server is ready: ${server.apiUrl}`);

  const api = prefectApi(server.apiUrl);
  await api.createWorkPool(POOL);
  const deploymentId = await api.createDeployment({
    flowName: "count-primes",
    name: "demo",
    workPool: POOL,
    entrypoint: "example.py:count_primes",
    path: inCheckout("test/fixtures/flows"),
  });
  say(`Work pool ${POOL} and deployment count-primes/demo are created. Starting: lictor worker start --pool ${POOL}`);

  await using _worker = await startWorker(POOL, {
    apiUrl: server.apiUrl,
    name: "demo-worker",
    args: ["--log-format", "text"],
    onLine: (line) => console.log(`    lictor | ${line}`),
  });
  stop.throwIfAborted();
  using end = new LinkedController(stop, AbortSignal.timeout(ALL_COMPLETED_MS));
  const finished = await Promise.all(RUNS.map((run) => runToItsEnd(api, deploymentId, run, end.signal)));
  finished.push(await runTypeScriptFlow(api, server.apiUrl, end.signal));
  const unsuccessful = finished.filter(({ states }) => states.at(-1)?.type !== "COMPLETED");
  console.log(`\n${resultTable(finished)}\n`);
  if (unsuccessful.length > 0)
    throw new Error(`${unsuccessful.length} of ${finished.length} flow runs did not complete.`);
}

/** Deploys and runs docs/examples/weather-report.ts with lictor's own commands. */
async function runTypeScriptFlow(api: PrefectApi, apiUrl: string, signal: AbortSignal): Promise<FinishedRun> {
  const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);
  const runsTypeScript = major > 22 || (major === 22 && minor >= 18);
  const file = runsTypeScript ? "docs/examples/weather-report.ts" : "dist/weather-report.mjs";
  if (!runsTypeScript) await build({ entryPoints: ["docs/examples/weather-report.ts"], outfile: file, format: "esm" });
  const args = ["deploy", "weather-report", "--pool", POOL, "--entrypoint", `${file}:weather-report`];
  say(`Now a flow in TypeScript: lictor ${args.join(" ")}`);
  const env = { PREFECT_API_URL: apiUrl, PATH: `${dirname(process.execPath)}:${process.env.PATH}` };
  const deployed = await runLictor([...args, "--working-dir", inCheckout(".")], { env });
  if (deployed.code !== 0) throw new Error(deployed.stderr);
  const path = "/deployments/name/weather-report/weather-report";
  const { id } = await api.request<{ id: string }>("GET", path);
  return await followFlowRun(api, await api.createFlowRun(id), say, signal);
}

async function runToItsEnd(
  api: PrefectApi,
  deploymentId: string,
  run: DemoRun,
  signal: AbortSignal,
): Promise<FinishedRun> {
  const { below, aheadMs } = run;
  const schedule = aheadMs === undefined ? {} : { scheduledTime: new Date(Date.now() + aheadMs) };
  const flowRun = await api.createFlowRun(deploymentId, { parameters: { below }, ...schedule });
  say(`${flowRun.name}: created with below=${below}${aheadMs === undefined ? "" : `, scheduled ${aheadMs} ms ahead`}`);
  return await followFlowRun(api, flowRun, say, signal);
}

function resultTable(finished: readonly FinishedRun[]): string {
  const rows = finished.map(({ flowRun, states }) => {
    const timeOf = (type: string) => Date.parse(states.find((state) => state.type === type)?.timestamp ?? "");
    const result = states.at(-1)?.message ?? "";
    const toRunningMs = timeOf("RUNNING") - timeOf("SCHEDULED");
    return [flowRun.name, states.map((state) => state.name).join(" → "), `${toRunningMs}`, result];
  });
  return markdownTable(["flow run", "states", "created → Running (ms)", "result"], rows);
}

function say(line: string): void {
  console.log(`${new Date().toISOString().slice(11, 23)} ${line}`);
}

await runScript("The demo failed", demo);
