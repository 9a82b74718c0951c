// Settles flow runs whose worker is gone together with its disk, for example with its container. No journal is left of
// them, so the server is asked. A flow run stays as it is if its engine could live without being heard.
import { isTransient } from "../../api/errors.ts";
import { hasHeartbeat, readSignOfLife } from "../../api/signs-of-life.ts";
import type { FlowRun } from "../../api/wire.ts";
import { monotonicMs, timeoutSignal } from "../../async/clock.ts";
import { clampedPoissonMs } from "../../async/jitter.ts";
import { LinkedController } from "../../async/linked-controller.ts";
import { sleep } from "../../async/sleep.ts";
import type { Claimant } from "../../run/claimant.ts";
import { settleLost } from "../../run/settle-lost.ts";
import type { Worker } from "../worker.ts";
import { findOrphans, type Orphan } from "./find-orphans.ts";
import { Suspects } from "./suspects.ts";

const usualIntervalMs = 300_000;
/** While a flow run is suspected, this part of the necessary silence lies between two looks. */
const looksPerSilence = 3;
/** A socket that opens again and again does not cause more sweeps than this. */
const leastIntervalMs = 30_000;
/** A short `LICTOR_LOST_AFTER_SECONDS` does not cause more sweeps than this. */
const shortestIntervalMs = 1_000;
const jitterFactor = 0.3;
/** One sweep reads the events and log records of this many flow runs. The rest is left for the next sweep. */
const maxReadPerSweep = 50;
/** The time limit for settling one flow run. A later proposal could hit the next attempt. */
const settlingMs = 15_000;

/**
 * Sweeps the pool until `drain` aborts: at once, after each connection of the event socket, when another worker has gone
 * offline, and at an interval. Returns when the last hooks of settled flow runs have ended. Never throws.
 */
export async function sweepPool(worker: Worker, drain: AbortSignal, intervalMs = usualIntervalMs): Promise<void> {
  const { lostAfterMs, random } = worker.services;
  const suspects = new Suspects(lostAfterMs);
  // One after the other: a worker that dies with many flow runs must not start as many Pythons here.
  let hooks = Promise.resolve();
  const onHooks = (run: () => Promise<void>): void => {
    hooks = hooks.then(run);
  };
  while (lostAfterMs > 0 && !drain.aborted) {
    const sweptAtMs = monotonicMs();
    let hasFailed = false;
    try {
      if (worker.pool.current) await sweep(worker, suspects, onHooks, drain);
    } catch (error) {
      suspects.clear();
      hasFailed = isTransient(error);
      if (!drain.aborted) worker.log.debug({ err: error }, "The search for lost flow runs failed");
    }
    // After a failure too, a lost flow run should not wait much longer than the silence.
    const isUrgent = suspects.size > 0 || hasFailed;
    const usualMs = isUrgent ? Math.min(lostAfterMs / looksPerSilence, intervalMs) : intervalMs;
    const waitMs = clampedPoissonMs(Math.max(usualMs, shortestIntervalMs), jitterFactor, random);
    await worker.sweepWake.sleep(waitMs, drain);
    await sleep(sweptAtMs + Math.min(waitMs, leastIntervalMs) - monotonicMs(), drain);
  }
  await hooks;
}

/** Looks once at the flow runs whose worker is gone, and settles those of which nothing was heard for long enough. */
async function sweep(
  worker: Worker,
  suspects: Suspects,
  onHooks: (run: () => Promise<void>) => void,
  signal: AbortSignal,
): Promise<void> {
  const orphans = await findOrphans(worker, signal);
  suspects.keepOnly(orphans.map(({ flowRun }) => flowRun.id));
  let read = 0;
  for (const orphan of orphans) {
    const { flowRun } = orphan;
    const nowMs = monotonicMs();
    const verdict = suspects.look(flowRun, worker.claimOrder.rank(flowRun.id), nowMs);
    if (verdict === "quiet" || ++read > maxReadPerSweep) continue;
    try {
      const sign = await readSignOfLife(worker.api, flowRun.id, { signal });
      if (verdict === "due" && sign !== null && suspects.isSilent(flowRun.id, sign)) {
        const runHooks = await settle(worker, orphan, signal);
        if (runHooks) onHooks(runHooks);
      } else {
        suspects.delete(flowRun.id);
        if (sign !== null && (await canBeHeard(worker, flowRun, signal))) suspects.watch(flowRun, sign, nowMs);
      }
    } catch (error) {
      if (signal.aborted || isTransient(error)) throw error;
      // If it was due, the next sweep tries again.
      worker.log.debug({ err: error, flow_run_id: flowRun.id }, "A flow run whose worker is gone cannot be settled");
    }
  }
}

/** An engine that runs without its worker is heard only by its heartbeats. Engines before 3.6.13 send none. */
async function canBeHeard(worker: Worker, { id, state_type }: FlowRun, signal: AbortSignal): Promise<boolean> {
  return state_type !== "RUNNING" || (await hasHeartbeat(worker.api, id, { signal }));
}

async function settle(
  worker: Worker,
  { flowRun, claimants }: Orphan,
  signal: AbortSignal,
): Promise<(() => Promise<void>) | null> {
  const { pool, services } = worker;
  const workPool = pool.current;
  if (!workPool || worker.runs.has(flowRun.id)) return null;
  using limit = new LinkedController(signal, timeoutSignal(settlingMs));
  const silence = `nothing was heard of the flow run for ${services.lostAfterMs / 1000} s`;
  const why = `${describeClaimants(claimants)} gone, and ${silence}.`;
  const log = services.named("prefect.flow_runs.worker").child({ flow_run_id: flowRun.id });
  return await settleLost(worker, { flowRun, workPool, why, log }, limit.signal);
}

/** Names all of them, because the labels may be older or younger than the message of the claim. */
function describeClaimants(claimants: readonly Claimant[]): string {
  const all = claimants.map(({ workerName, host }) => `worker '${workerName}' on host '${host ?? "unknown"}'`);
  const [first = "", ...others] = [...new Set(all)];
  const named = [first.replace("w", "W"), ...others].join(" and ");
  return `${named} ${others.length > 0 ? "are" : "is"}`;
}
