// Which flow runs must end, and whether all of them have. A worker cannot save a flow run of which it lost every trace.
import { instanceLabel } from "../../src/job/labels.ts";
import { isFinal, pending } from "../../src/run/states.ts";
import { findLeftContainers, findLeftFiles } from "./invariants.ts";
import type { LictorProcess } from "./lictor-process.ts";
import type { Machine } from "./machine.ts";
import { heartbeatEvent } from "./network.ts";
import { isUnreachable } from "./run-facts.ts";
import { findLeftJobs } from "./simulated-cluster.ts";
import type { ModelRun } from "./state-rules.ts";
import { poolName } from "./supervisor.ts";
import type { World } from "./world.ts";

/** Returns whether the flow run was lost in a way that a worker without a disk cannot repair. */
export function isUnpromised(world: World, id: string): boolean {
  const { network, server } = world;
  if (network.undone.has(id)) return true;
  if (!world.lostWithoutDisk.has(id)) return false;
  const run = server.runs.get(id);
  if (run?.work_queue_id && isClaimLeft(world, id)) return false;
  // A sweep finds flow runs by their claim or their labels, and by their work pool.
  const isFound = run !== undefined && namesClaimant(world, run) && run.work_queue_id !== null;
  if (world.lostAfterSeconds === 0 || !isFound) return true;
  // An engine that never sent a heartbeat could still run.
  return run.state_type === "RUNNING" && !server.events.has(id, heartbeatEvent);
}

/**
 * Returns whether a container or a Job of the newest claim is left. Its labels say what the record said, unless they name an
 * earlier work pool of the same name. One of an earlier claim says nothing about this one.
 */
function isClaimLeft({ server, cluster, engines }: World, id: string): boolean {
  const poolId = server.pools.get(poolName)?.id ?? "";
  const named = engines.flatMap(({ engine }) => engine.claimsOf(id, poolId)).concat(cluster?.claimsOf(id) ?? []);
  const claims = (server.histories.get(id) ?? []).filter(({ type, name }) => type === "PENDING" && name === pending);
  const newest = claims.at(-1)?.state_details.transition_id;
  return newest != null && named.includes(newest);
}

/**
 * Returns whether nobody knows if a program began. It begins without a report, and its container may be removed at its end.
 */
export function isBeginUnknown(world: World, id: string): boolean {
  return world.lostWithoutDisk.has(id) || (world.removesContainers && !world.isCalm);
}

/** The labels of an earlier claim may name a process that lives, and then the flow run does not look lost. */
function namesClaimant(world: World, { id, labels, state }: ModelRun): boolean {
  const labelled = world.lictors.find(({ directory }) => directory === labels[instanceLabel]);
  if (!labelled) return state.type === "PENDING";
  return labelled.owner === world.network.claimants.get(id) || !world.running().includes(labelled);
}

/** Returns whether all flow runs have ended that can, and nothing is left of them. */
export function haveAllEnded(world: World): boolean {
  const { server, runs, engines, cluster, machines } = world;
  // What was lost for ever may still be cancelled, or changed by a late request, and is to be settled then.
  if (world.cancellationsToCome > 0 || world.network.hasLateRequests()) return false;
  if (engines.some(({ isBusy }) => isBusy)) return false;
  for (const { id } of runs.values()) {
    const run = server.runs.get(id);
    if (!run || isFinal(run.state) || isUnreachable(run)) continue;
    if (run.state_type === "SCHEDULED" || !isUnpromised(world, id)) return false;
  }
  const isIdle = ({ worker, slots }: LictorProcess): boolean =>
    slots.taken === 0 && (worker?.runs.list().length ?? 0) === 0;
  const isClean = (machine: Machine): boolean =>
    machine.living().length === 0 && findLeftFiles(world, machine).length === 0;
  if (engines.some(({ engine }) => findLeftContainers(world, engine).length > 0)) return false;
  if (cluster && findLeftJobs(world, cluster).length > 0) return false;
  return machines.every(isClean) && world.running().every(isIdle);
}
