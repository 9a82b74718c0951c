// Takes over the flow runs of dead workers of this machine. A worker that was killed leaves them in its journal.
import type { JsonObject } from "../api/wire.ts";
import { timeoutSignal } from "../async/clock.ts";
import { clampedPoissonMs } from "../async/jitter.ts";
import { LinkedController } from "../async/linked-controller.ts";
import { sleep, waitAtMost } from "../async/sleep.ts";
import { settleLateClaim } from "../run/claim.ts";
import { forget, type JournalEntry, readEntry, restoreRunRecord } from "../run/journal-entry.ts";
import { resume } from "../run/live.ts";
import type { RunRecord } from "../run/run-record.ts";
import type { StartedPrograms } from "./started-programs.ts";
import type { Worker } from "./worker.ts";

/** How often the worker looks for dead workers. A look sends no requests; it only tries the control sockets of this machine. */
const intervalMs = 30_000;
const jitterFactor = 0.3;
/** A server or proxy may still work on the claim of a dead worker for this time. */
const lateClaimMs = 60_000;
/** The pause between two looks at its flow run. */
const lookPauseMs = 5_000;

/** Infrastructure that cannot be reached is asked again after this time. */
const retryMs = 2_000;
/** The start of a worker waits this long for infrastructure that remembers what it runs. */
const firstLookMs = 5_000;

/** Continues the flow runs of workers that die while this one lives, until `drain` aborts. Never throws. */
export async function keepTakingOver(worker: Worker, programs: StartedPrograms, drain: AbortSignal): Promise<void> {
  let isReached = false;
  for (;;) {
    await sleep(isReached ? clampedPoissonMs(intervalMs, jitterFactor, worker.services.random) : retryMs, drain);
    if (drain.aborted) return;
    await takeOverRuns(worker);
    isReached = await programs.adopt(drain);
  }
}

/** Continues the flow runs of dead workers before the first poll. Returns when that is done or takes too long. */
export async function takeOverFirst(worker: Worker, programs: StartedPrograms, drain: AbortSignal): Promise<void> {
  await takeOverRuns(worker);
  await waitAtMost(programs.adopt(drain), firstLookMs, drain);
}

/**
 * Continues the flow runs that dead workers of this pool and API left. Each takes a slot, even if none is free, because
 * its process may run already. So new flow runs wait until the limit is kept. Never throws.
 */
async function takeOverRuns(worker: Worker): Promise<void> {
  const { runs, services } = worker;
  const taken = await services.journal.takeOver((record) => isOfPool(worker, record));
  for (const { record } of taken) {
    const entry = readEntry(record) as JournalEntry;
    const { id, name } = entry.flowRun;
    if (runs.has(id)) continue;
    const log = services.named("prefect.flow_runs.worker").child({ flow_run_id: id });
    log.info(`Taking over flow run '${name}' of worker '${entry.workerName}', which is gone`);
    const slot = services.slots.acquireBeyondLimit();
    const run = restoreRunRecord(entry, { slot, log });
    runs.take(
      run,
      () => resume(worker, run),
      () => {
        services.slotFreed();
        if (run.isClaimUnknown) awaitLateClaim(worker, run);
      },
    );
  }
}

/**
 * Gives the flow run back if the claim of its dead worker takes effect late. It holds no slot meanwhile, so that any worker
 * can claim it. If this worker ends before, the record stays for the next one.
 */
function awaitLateClaim(worker: Worker, run: RunRecord): void {
  const { background, stop } = worker.services;
  const { id, name } = run.flowRun;
  worker.lateClaims.set(id, run);
  const by = "took it over from a worker that died while it claimed it";
  const settle = async (): Promise<void> => {
    using over = new LinkedController(stop.drain, timeoutSignal(lateClaimMs));
    const limits = { over: over.signal, signal: stop.drain, pauseMs: lookPauseMs };
    await settleLateClaim(worker, run, by, limits).finally(() => worker.lateClaims.delete(id));
    if (stop.drain.aborted) return;
    const own = worker.runs.has(id) ? worker.runs.find(id) : undefined;
    if (own) own.isClaimUnknown = false;
    else await forget(worker, run);
  };
  void background.run(settle, (error) => {
    run.log.info(
      { err: error },
      `Flow run '${name}' may still be claimed by a dead worker. The next worker looks at it.`,
    );
  });
}

/**
 * Lets this worker's own record of a flow run replace that of a dead worker whose claim may still take effect. If this
 * worker dies, the next one recognises both claims. If this worker cannot claim the flow run, the record stays.
 */
export function inheritLateClaim({ lateClaims }: Worker, run: RunRecord): void {
  const late = lateClaims.get(run.flowRun.id);
  if (!late) return;
  run.proposals.push(...late.proposals);
  run.isClaimUnknown = true;
}

function isOfPool({ api, options, poolType, runs }: Worker, record: JsonObject): boolean {
  const entry = readEntry(record);
  return (
    entry !== null &&
    entry.apiUrl === api.address.apiUrl &&
    entry.workPool.name === options.workPoolName &&
    entry.poolType === poolType.name &&
    // It was scheduled again, and this worker claimed it. The old record is settled afterwards.
    !runs.has(entry.flowRun.id)
  );
}
