// What a worker needs without a flow run, and with many that sleep.

import { pidsWithEnvironment } from "../support/processes.ts";
import { waitFor } from "../support/wait-for.ts";
import { withProgress } from "../support/with-progress.ts";
import {
  type Bench,
  both,
  noMoreRow,
  pause,
  poolName,
  prepare,
  type Row,
  readUsage,
  startPolling,
  type WorkerKind,
} from "./bench-context.ts";

/** The goal for 500 flow runs in flight: 120 MB. */
const mostMiBInFlight = 120e6 / 2 ** 20;

interface Idle {
  residentMiB: number;
  cpuPercent: number;
  requestsPerMinute: number;
}

/**
 * Memory, CPU time and requests of each worker without a flow run, all of its processes together. lictor's imported engine
 * ends when there has been no flow run for some minutes, so it is a row of its own.
 */
export async function measureIdle(bench: Bench): Promise<Row[]> {
  const { sizes } = bench;
  const [lictor, reference] = await both(bench, (kind) => measureIdleWorker(bench, kind, "true"));
  const ready = await measureIdleWorker(bench, bench.kinds[0], "false");
  const ratio = lictor.residentMiB / reference.residentMiB;
  return [
    {
      name: "idle",
      what: `idle for ${sizes.idleSeconds} s, resident memory`,
      unit: "MiB",
      lictor: [lictor.residentMiB],
      reference: [reference.residentMiB],
      goal: { text: `0.55 x: ${ratio.toFixed(2)} x`, isMet: ratio <= 0.55 },
    },
    {
      name: "idle",
      what: "the same, while an imported engine waits for flow runs",
      unit: "MiB",
      lictor: [ready.residentMiB],
      reference: [reference.residentMiB],
      goal: null,
    },
    noMoreRow({ name: "idle", what: "idle, CPU", unit: "%" }, [lictor.cpuPercent, reference.cpuPercent]),
    noMoreRow({ name: "idle", what: "idle, requests per minute", unit: "" }, [
      lictor.requestsPerMinute,
      reference.requestsPerMinute,
    ]),
  ];
}

async function measureIdleWorker(bench: Bench, kind: WorkerKind, isLazy: "true" | "false"): Promise<Idle> {
  const { sizes, proxy, say, stop } = bench;
  const pool = poolName(kind, "idle");
  await bench.api.createWorkPool(pool);
  await using worker = await startPolling(bench, kind, pool, { env: { LICTOR_ENGINE_LAZY: isLazy } });
  await withProgress(say, `${kind.name} settles`, pause(sizes.idleSettlingMs, stop));
  // The fork server is one of them.
  const pids = await pidsWithEnvironment("HOME", worker.program.home);
  const before = { requests: proxy.requests.length, ...(await readUsage(pids)) };
  await withProgress(say, `${kind.name} idles for ${sizes.idleSeconds} s`, pause(sizes.idleSeconds * 1000, stop));
  const after = await readUsage(pids);
  return {
    residentMiB: after.residentMiB,
    cpuPercent: (after.cpuMs - before.cpuMs) / (sizes.idleSeconds * 10),
    requestsPerMinute: ((proxy.requests.length - before.requests) * 60) / sizes.idleSeconds,
  };
}

/** The memory of each worker, without its flow runs, while many of them sleep. */
export async function measureInFlight(bench: Bench): Promise<Row[]> {
  const { sizes, api, say, stop } = bench;
  const measure = async (kind: WorkerKind): Promise<number> => {
    const pool = poolName(kind, "in-flight");
    const deployment = await prepare(bench, pool, { command: "sleep 3600" });
    for (let count = 0; count < sizes.inFlight; count++) await api.createFlowRun(deployment);
    await using worker = await startPolling(bench, kind, pool);
    const areAllRunning = async (): Promise<boolean> => {
      stop.throwIfAborted();
      return (await worker.program.descendants()).length >= sizes.inFlight;
    };
    const starting = waitFor(areAllRunning, { timeoutMs: 600_000, what: "all flow runs to sleep", intervalMs: 1_000 });
    await withProgress(say, `${kind.name} starts ${sizes.inFlight} flow runs that sleep`, starting);
    await pause(bench.sizes.settlingMs, stop);
    return (await readUsage([worker.program.pid])).residentMiB;
  };
  const [lictor, reference] = await both(bench, measure);
  return [
    {
      name: "in-flight",
      what: `${sizes.inFlight} sleeping flow runs, worker's resident memory`,
      unit: "MiB",
      lictor: [lictor],
      reference: [reference],
      goal: { text: "120 MB", isMet: lictor <= mostMiBInFlight },
    },
  ];
}
