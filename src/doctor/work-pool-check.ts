// Checks the work pool that a worker would serve.

import type { WorkPool, WorkQueue } from "../api/wire.ts";
import { filterWorkQueues, findWorkPool } from "../api/work-pools.ts";
import type { Check, Examination } from "./check.ts";
import { type Finding, fail, pass, skip, warn } from "./finding.ts";

/** Checks whether the work pool exists, is supported, and allows flow runs to start. */
export const workPoolCheck: Check = { name: "work pool", needs: "authentication", run: checkWorkPool };

async function checkWorkPool({ access, pool: name, poolTypes, signal }: Examination): Promise<Finding[]> {
  if (name === null) return [skip("work pool", "not looked at; name one by --pool")];
  const { api } = await access;
  const pool = await findWorkPool(api, name, { signal });
  if (!pool) {
    return [fail("work pool", `'${name}' does not exist`, "Check the name; `lictor worker start` would create it.")];
  }
  const queues = await filterWorkQueues(api, name, [], { signal });
  const message = `'${name}' ${describe(pool)}; work queues: ${queues.map(describeQueue).join(", ") || "none"}`;
  if (!poolTypes.includes(pool.type)) return [fail("work pool", message, typeAdvice(pool.type, poolTypes))];
  const problem = problemOf(pool, queues);
  return [problem ? warn("work pool", message, problem) : pass("work pool", message)];
}

function describe({ type, is_paused: isPaused, concurrency_limit: limit, status }: WorkPool): string {
  return [`of type ${type}`, limitOf(limit), ...(isPaused ? ["paused"] : []), ...(status ? [status] : [])].join(", ");
}

function describeQueue({ name, is_paused: isPaused, concurrency_limit: limit }: WorkQueue): string {
  const notes = [...(limit === null ? [] : [limitOf(limit)]), ...(isPaused ? ["paused"] : [])];
  return notes.length > 0 ? `${name} (${notes.join(", ")})` : name;
}

function limitOf(limit: number | null): string {
  return limit === null ? "no limit" : `limit ${limit}`;
}

function typeAdvice(type: string, poolTypes: readonly string[]): string {
  if (/:(push|managed)$/.test(type)) return "Pools of this type need no worker.";
  return `lictor serves pools of type ${poolTypes.join(", ")}.`;
}

function problemOf(
  { is_paused: isPaused, concurrency_limit: limit }: WorkPool,
  queues: WorkQueue[],
): string | undefined {
  if (isPaused) return "No flow run is started until the pool is unpaused.";
  if (limit === 0) return "A limit of 0 lets no flow run start.";
  const open = queues.filter((queue) => !queue.is_paused && queue.concurrency_limit !== 0);
  return open.length === 0 ? "Every work queue is paused or has a limit of 0, so no flow run is started." : undefined;
}
