// Finds flow runs of the pool whose worker is gone. Their claims name the program and the worker.
import { filterClaimed } from "../../api/flow-runs.ts";
import type { FlowRun } from "../../api/wire.ts";
import { filterOnlineWorkers } from "../../api/work-pools.ts";
import { waitUnlessAborted } from "../../async/sleep.ts";
import { type Claimant, readClaimants } from "../../run/claimant.ts";
import { isScheduledAgain } from "../../run/last-reports.ts";
import { isFinal } from "../../run/states.ts";
import type { Worker } from "../worker.ts";

/** The number of items that a server returns at most. Source: prefect PREFECT_SERVER_API_DEFAULT_LIMIT. */
const pageSize = 200;
/** 2,000 flow runs, those that began first. */
const maxPages = 10;

/** A flow run whose worker is gone. */
export interface Orphan {
  readonly flowRun: FlowRun;
  /** Who had it. More than one if another worker had adopted it, or if its labels are those of an earlier claim. */
  readonly claimants: readonly Claimant[];
}

/**
 * Returns the claimed flow runs of the pool whose program is not alive on this machine, whose worker is not online, and
 * that are not in this worker's hands. While no flow run of another program is claimed, this takes one request. Throws the
 * errors of `Api.request`, and the system's error.
 */
export async function findOrphans(worker: Worker, signal: AbortSignal): Promise<Orphan[]> {
  const { runs, api, options } = worker;
  const claimed = (await readClaimed(worker, signal)).flatMap((flowRun) => {
    const claimants = readClaimants(flowRun);
    const isClaimed = !isFinal(flowRun.state) && !isScheduledAgain(flowRun);
    return claimants.length > 0 && isClaimed && !runs.has(flowRun.id) ? [{ flowRun, claimants }] : [];
  });
  if (claimed.length === 0) return [];
  const living = await listLiving(worker, signal);
  const unattended = claimed.filter(({ claimants }) => !claimants.some(({ instance }) => living.includes(instance)));
  if (unattended.length === 0) return [];
  const online = await filterOnlineWorkers(api, options.workPoolName, { signal });
  // The list is sorted by heartbeats. So a worker could move from a later page to one that was read already.
  if (online.length >= pageSize) return [];
  const names = new Set(online.map(({ name }) => name));
  const isGone = (claimant: Claimant): boolean => !names.has(claimant.workerName) || isPredecessor(worker, claimant);
  return unattended.filter(({ claimants }) => claimants.every(isGone));
}

/** Returns the names of the living programs. A drain does not wait for it, because the disk may hang. */
async function listLiving({ services }: Worker, signal: AbortSignal): Promise<readonly string[]> {
  let living: readonly string[] = [];
  const listing = services.livingInstances().then((names) => {
    living = names;
  });
  await waitUnlessAborted(listing, signal);
  signal.throwIfAborted();
  return living;
}

/** Returns the pool's claimed flow runs, at most `maxPages` pages. A flow run between two pages is found by a later sweep. */
async function readClaimed({ api, options }: Worker, signal: AbortSignal): Promise<FlowRun[]> {
  const found: FlowRun[] = [];
  for (let page = 0; page < maxPages; page++) {
    const range = { offset: page * pageSize, limit: pageSize };
    const flowRuns = await filterClaimed(api, options.workPoolName, range, { signal });
    found.push(...flowRuns);
    if (flowRuns.length < pageSize) break;
  }
  return found;
}

/** A container that is started again has the same host name, and often the same worker name. This worker is that one. */
function isPredecessor({ identity, services }: Worker, { workerName, host }: Claimant): boolean {
  return workerName === identity.name && host === services.instance.host;
}
