// How time and requests grow with the scheduled flow runs of a pool, and with its workers.
import { waitFor } from "../support/wait-for.ts";
import { withProgress } from "../support/with-progress.ts";
import {
  type Bench,
  both,
  noMoreRow,
  type PollingWorker,
  pause,
  poolName,
  prepare,
  type Row,
  readUsage,
  startPolling,
  type WorkerKind,
} from "./bench-context.ts";

const scheduledCounts = [1, 10, 100, 1_000];
const workerCounts = [1, 10, 50];
/** Flow runs that are created one after the other at each size. */
const flowRuns = 10;

interface Cost {
  pendingMs: number[];
  cpuPercent: number;
  requestsPerRun: number;
}

/** Latency, CPU and requests at each size. The other flow runs of the pool are scheduled for tomorrow. */
export async function measureGrowth(bench: Bench): Promise<Row[]> {
  const rows: Row[] = [];
  for (const count of scheduledCounts) {
    const costs = await both(bench, (kind) => measureCost(bench, kind, { scheduled: count, workers: 1 }));
    rows.push(...toRows(`${count} scheduled flow runs`, costs));
  }
  for (const count of workerCounts) {
    const costs = await both(bench, (kind) => measureCost(bench, kind, { scheduled: 0, workers: count }));
    rows.push(...toRows(`${count} workers`, costs));
  }
  return rows;
}

function toRows(size: string, [lictor, reference]: [Cost, Cost]): Row[] {
  return [
    {
      name: "growth",
      what: `${size}: created → Pending`,
      unit: "ms",
      lictor: lictor.pendingMs,
      reference: reference.pendingMs,
      goal: null,
    },
    {
      name: "growth",
      what: `${size}: CPU of all workers`,
      unit: "%",
      lictor: [lictor.cpuPercent],
      reference: [reference.cpuPercent],
      goal: null,
    },
    noMoreRow({ name: "growth", what: `${size}: requests per flow run`, unit: "" }, [
      lictor.requestsPerRun,
      reference.requestsPerRun,
    ]),
  ];
}

async function measureCost(
  bench: Bench,
  kind: WorkerKind,
  { scheduled, workers: count }: { scheduled: number; workers: number },
): Promise<Cost> {
  const { api, proxy, say, stop } = bench;
  const pool = poolName(kind, `growth-${scheduled}-${count}`);
  const deployment = await prepare(bench, pool, { command: "true" });
  const tomorrow = new Date(Date.now() + 86_400_000);
  for (let run = 0; run < scheduled; run++) await api.createFlowRun(deployment, { scheduledTime: tomorrow });
  await using workers = await startMany(bench, kind, pool, count);
  await pause(bench.sizes.settlingMs, stop);
  const pids = workers.list.map(({ program }) => program.pid);
  const before = { requests: proxy.requests.length, atMs: performance.now(), ...(await readUsage(pids)) };
  const pendingMs: number[] = [];
  for (let run = 1; run <= flowRuns; run++) {
    say(`${kind.name}, ${scheduled} scheduled, ${count} workers: flow run ${run} of ${flowRuns}`);
    const createdAt = Date.now();
    const { id } = await api.createFlowRun(deployment);
    const findPending = async () => (await api.readStates(id)).find(({ type }) => type === "PENDING");
    const pending = await waitFor(findPending, { timeoutMs: 60_000, what: "Pending", intervalMs: 500 });
    pendingMs.push(Date.parse(pending.timestamp ?? "") - createdAt);
    await pause(Math.random() * 1_000, stop);
  }
  const after = { requests: proxy.requests.length, atMs: performance.now(), ...(await readUsage(pids)) };
  // Polls are part of the requests here, because that is what many workers have many of.
  return {
    pendingMs,
    cpuPercent: ((after.cpuMs - before.cpuMs) * 100) / (after.atMs - before.atMs),
    requestsPerRun: (after.requests - before.requests) / flowRuns,
  };
}

/** Starts workers one after the other, because together the reference's would take minutes until the first polls. */
async function startMany(
  bench: Bench,
  kind: WorkerKind,
  pool: string,
  count: number,
): Promise<AsyncDisposable & { list: PollingWorker[] }> {
  const list: PollingWorker[] = [];
  const dispose = async (): Promise<void> => {
    await Promise.all(list.map(async (worker) => await worker[Symbol.asyncDispose]()));
  };
  const start = async (): Promise<void> => {
    for (let index = 0; index < count; index++) {
      bench.stop.throwIfAborted();
      list.push(await startPolling(bench, kind, pool, { name: `bench-worker-${index}` }));
    }
  };
  try {
    await withProgress(bench.say, `Starting ${count} x ${kind.name}`, start());
    return { list, [Symbol.asyncDispose]: dispose };
  } catch (error) {
    await dispose();
    throw error;
  }
}
