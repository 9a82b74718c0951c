// `npm run soak`: memory and file handles of one worker over many flow runs, and how soon the next worker adopts.
import { readdir, readFile } from "node:fs/promises";
import { setTimeout as delay } from "node:timers/promises";
import { parseArgs } from "node:util";
import { startLictor } from "../support/lictor.ts";
import { markdownTable } from "../support/markdown-table.ts";
import { type PrefectApi, prefectApi } from "../support/prefect-api.ts";
import { startPrefectServer } from "../support/prefect-server.ts";
import { runScript } from "../support/run-script.ts";
import { startWorker } from "../support/start-worker.ts";
import { waitFor } from "../support/wait-for.ts";
import { median } from "./statistics.ts";

const POOL = "soak";
/** How many flow runs wait at most, so that the server's work per poll stays the same. */
const WAITING = 20;
const LIMIT = 10;
/** Memory is read during so many flow runs. */
const READ_FOR = 50;
/** During the first 100 flow runs, the worker still warms up. */
const FIRST_SAMPLE = 100 + READ_FOR;
const REST_MS = 5_000;
const ADOPTED = 10;

/**
 * The worker after so many flow runs. Its memory is the median over the last `READ_FOR` of them, because a single reading
 * depends on the last garbage collection. Its file handles are those that it has when nothing runs.
 */
interface Sample {
  runs: number;
  residentMiB: number;
  anonymousMiB: number;
  handles: number;
}

type Memory = Pick<Sample, "residentMiB" | "anonymousMiB">;

async function soak(stop: AbortSignal): Promise<void> {
  const { values } = parseArgs({ options: { runs: { type: "string", default: "2000" } } });
  const total = Number(values.runs);
  if (!Number.isInteger(total) || total <= FIRST_SAMPLE) throw new Error(`--runs must be above ${FIRST_SAMPLE}.`);
  await using server = await startPrefectServer();
  const api = prefectApi(server.apiUrl);
  await api.createWorkPool(POOL);
  const startedAt = performance.now();
  const samples = await executeMany(api, server.apiUrl, total, stop);
  console.log(
    `\n${total} flow runs in ${Math.round((performance.now() - startedAt) / 1000)} s\n\n${markdownTable(
      ["flow runs", "resident MiB", "anonymous MiB", "file handles"],
      samples.map(({ runs, residentMiB, anonymousMiB, handles }) =>
        [runs, residentMiB.toFixed(1), anonymousMiB.toFixed(1), handles].map(String),
      ),
    )}`,
  );
  const [first, last] = [samples[0], samples.at(-1)];
  if (!first || !last) throw new Error("no samples");
  const growth = (one: number, other: number): string => `${(((other - one) / one) * 100).toFixed(1)} %`;
  console.log(
    `Growth from ${first.runs} to ${last.runs}: resident ${growth(first.residentMiB, last.residentMiB)}, file handles ${growth(first.handles, last.handles)}.`,
  );
  console.log(`Restart after kill -9 with ${ADOPTED} flow runs: ${await measureAdoption(api, server.apiUrl, stop)}`);
}

/** Executes flow runs whose command is `true`, and samples the worker at the end of every tenth part of them. */
async function executeMany(api: PrefectApi, apiUrl: string, total: number, stop: AbortSignal): Promise<Sample[]> {
  const deployment = await deployCommand(api, "true");
  await using worker = await startWorker(POOL, { apiUrl, args: ["--limit", String(LIMIT)] });
  const samples: Sample[] = [];
  let readings: Memory[] = [];
  let created = 0;
  const countEnded = (): number => worker.stderr.split("submitted to infrastructure").length - 1;
  const sampleAt = [FIRST_SAMPLE, ...Array.from({ length: 10 }, (_, part) => Math.round((total * (part + 1)) / 10))];
  for (const runs of [...new Set(sampleAt)].filter((count) => count >= FIRST_SAMPLE)) {
    while (countEnded() < runs) {
      stop.throwIfAborted();
      const wanted = Math.min(total, countEnded() + WAITING);
      for (; created < wanted; created++) await api.createFlowRun(deployment);
      await delay(200, undefined, { signal: stop });
      if (countEnded() > runs - READ_FOR) readings.push(await readMemory(worker.pid));
    }
    const medianOf = (field: keyof Memory): number => median(readings.map((reading) => reading[field]));
    // The last flow runs leave, and their connections are closed.
    await delay(REST_MS, undefined, { signal: stop });
    const handles = (await readdir(`/proc/${worker.pid}/fd`)).length;
    samples.push({ runs, residentMiB: medianOf("residentMiB"), anonymousMiB: medianOf("anonymousMiB"), handles });
    readings = [];
    console.error(`${runs} flow runs`);
  }
  return samples;
}

async function readMemory(pid: number): Promise<Memory> {
  const status = await readFile(`/proc/${pid}/status`, "utf8");
  const kB = (field: string): number => Number(new RegExp(`^${field}:\\s+(\\d+) kB$`, "m").exec(status)?.[1]);
  return { residentMiB: kB("VmRSS") / 1024, anonymousMiB: kB("RssAnon") / 1024 };
}

/** Kills a worker with running flow runs, starts the next one, and says when it had taken over the last of them. */
async function measureAdoption(api: PrefectApi, apiUrl: string, stop: AbortSignal): Promise<string> {
  const deployment = await deployCommand(api, "sleep 60");
  await using first = await startWorker(POOL, { apiUrl });
  for (let run = 0; run < ADOPTED; run++) await api.createFlowRun(deployment);
  const count = (text: string, part: string): number => text.split(part).length - 1;
  await waitFor(async () => count(first.stderr, "submitted to infrastructure") === ADOPTED, {
    timeoutMs: 60_000,
    what: "all flow runs to be started",
  });
  first.signal("SIGKILL");
  await first.exited;
  stop.throwIfAborted();
  const startedAt = performance.now();
  await using next = await startLictor(["worker", "start", "--pool", POOL, "--name", "next"], {
    env: { PREFECT_API_URL: apiUrl, LICTOR_STATE_DIR: `${first.home}/.prefect/lictor` },
  });
  const hasAdopted = async (): Promise<boolean> => count(next.stderr, "Taking over flow run") === ADOPTED;
  await waitFor(hasAdopted, { timeoutMs: 30_000, what: "all flow runs to be adopted", intervalMs: 5 });
  return `all adopted ${Math.round(performance.now() - startedAt)} ms after the start of the next worker.`;
}

async function deployCommand(api: PrefectApi, command: string): Promise<string> {
  return await api.createDeployment({ flowName: "soak", name: command, workPool: POOL, jobVariables: { command } });
}

await runScript("The soak failed", soak);
