// Does to the arena what the plan says.
import { readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { signalProcess } from "../support/processes.ts";
import type { Arena } from "./arena.ts";
import type { FaultKind, PlannedFault } from "./plan.ts";
import type { PodFault } from "./pods.ts";
import { type FoundProcess, findProcesses } from "./run-processes.ts";
import type { WorkerSlot } from "./worker-slot.ts";

/** A fault that happened. Times are milliseconds since 1970. */
export interface FaultRecord {
  kind: FaultKind;
  fromMs: number;
  untilMs: number;
  /** What it struck, and how often. */
  detail: string;
}

/** A fault that has nothing to strike waits for a target for this time. */
const targetWaitMs = 10_000;
const targetPauseMs = 200;
/** Longer than any flow run, on a busy machine too. */
const drainMs = 120_000;

/** Lets the fault happen and returns when it is over. Returns null if there is nothing that it could strike. */
export async function strike(arena: Arena, fault: PlannedFault): Promise<FaultRecord | null> {
  const fromMs = Date.now();
  const detail = await happen(arena, fault);
  return detail === null ? null : { kind: fault.kind, fromMs, untilMs: Date.now(), detail };
}

async function happen(arena: Arena, fault: PlannedFault): Promise<string | null> {
  const { kind, durationMs, pauseMs, choice } = fault;
  const slot = arena.slots[fault.slot];
  if (slot === undefined) return null;
  switch (kind) {
    case "worker-term":
      return `${slot.name} ${await slot.terminate(drainMs, pauseMs)}`;
    case "worker-timeout":
      return `${slot.name} ${await slot.terminate(choice * 5_000, pauseMs)}`;
    case "worker-kill":
      await slot.kill(pauseMs);
      return slot.name;
    case "worker-pause":
      await slot.pause(durationMs);
      return slot.name;
    case "worker-freeze":
      await slot.replaceFrozen(durationMs);
      return slot.name;
    case "tree-kill":
      return `${slot.name}, ${noteKilled(arena, await slot.killTree(pauseMs))} flow runs`;
    case "rolling-update":
      await slot.roll();
      return slot.name;
    case "server-restart": {
      const how = choice < 0.5 ? "SIGTERM" : "SIGKILL";
      await arena.restartServer(how, pauseMs);
      return how;
    }
    case "503":
    case "429":
    case "reset-before":
    case "reset-after":
    case "latency":
    case "lost-events":
      return `${await arena.network.breakFor(kind, durationMs)} times`;
    case "half-open":
      return `${arena.network.swallow()} connections`;
    case "disk-full":
      return await fillDisk(arena, durationMs);
    case "engine-kill":
      return await killEngine(arena, choice);
    case "disk-lost":
      return `${slot.name}, ${await loseRecords(arena, slot, pauseMs)} flow runs without a container or Job`;
    case "dockerd-restart": {
      const how = choice < 0.5 ? "SIGTERM" : "SIGKILL";
      await arena.containers?.restart(how, pauseMs);
      return how;
    }
    case "dockerd-freeze":
      await arena.containers?.freeze(durationMs);
      return "";
    case "container-kill":
    case "container-remove":
      return await killContainer(arena, choice, kind === "container-remove");
    case "api-restart": {
      const how = choice < 0.5 ? "SIGTERM" : "SIGKILL";
      await arena.pods?.restart(how, pauseMs);
      return how;
    }
    case "api-forget":
      await arena.pods?.forget();
      return "";
    case "api-freeze":
      await arena.pods?.freeze(durationMs);
      return "";
    case "api-cut":
      return `${arena.pods?.cut()} connections`;
    case "api-half-open":
      return `${arena.pods?.swallow()} connections`;
    case "pod-oom":
    case "pod-delete":
    case "pod-evict":
    case "job-delete":
      return await endPod(arena, choice, kind);
    case "cancel":
      return await cancel(arena, choice);
  }
}

async function fillDisk({ disk }: Arena, durationMs: number): Promise<string | null> {
  if (disk === null) return null;
  await disk.fill();
  await delay(durationMs);
  await disk.free();
  return "";
}

/** Remembers which flow runs had a process or container among the victims. Returns how many. */
function noteKilled({ killedAtMs }: Arena, victims: readonly Pick<FoundProcess, "flowRunId">[]): number {
  const ids = new Set(victims.flatMap(({ flowRunId }) => flowRunId ?? []));
  for (const id of ids) killedAtMs.set(id, [...(killedAtMs.get(id) ?? []), Date.now()]);
  return ids.size;
}

async function killEngine(arena: Arena, choice: number): Promise<string | null> {
  return await withTarget(
    choice,
    async () => {
      const processes = await findProcesses(arena.homes);
      return processes.filter(({ flowRunId }) => flowRunId !== null);
    },
    async (victim) => {
      noteKilled(arena, [victim]);
      signalProcess(victim.pid, "SIGKILL");
      return `pid ${victim.pid} of ${victim.flowRunId}`;
    },
  );
}

/**
 * Kills a worker and removes what it has stored. Nobody can know whether a flow run without a container or Job was about to
 * begin, so those count as killed. Returns how many.
 */
async function loseRecords(arena: Arena, slot: WorkerSlot, pauseMs: number): Promise<number> {
  const instances = join(arena.stateDirectory, "instances");
  let lost: string[] = [];
  await slot.kill(pauseMs, async (pid) => {
    // The name is host-pid-number.
    const own = (await readdir(instances)).filter((name) => name.split("-").at(-2) === `${pid}`);
    const recorded = await Promise.all(own.map((name) => readdir(join(instances, name, "runs")).catch(() => [])));
    for (const name of own) await rm(join(instances, name), { recursive: true, force: true });
    const found = (await arena.containers?.list()) ?? (await arena.pods?.jobs()) ?? [];
    const remembered = new Set(found.map(({ flowRunId }) => flowRunId));
    lost = recorded.flat().filter((id) => !remembered.has(id));
  });
  return noteKilled(
    arena,
    lost.map((flowRunId) => ({ flowRunId })),
  );
}

async function killContainer(arena: Arena, choice: number, isRemoved: boolean): Promise<string | null> {
  return await withTarget(
    choice,
    async () => (await arena.containers?.list())?.filter(({ state }) => state === "running") ?? [],
    async ({ id, flowRunId }) => {
      noteKilled(arena, [{ flowRunId }]);
      await arena.containers?.kill(id, isRemoved);
      return `${id.slice(0, 12)} of ${flowRunId}`;
    },
  );
}

async function endPod(arena: Arena, choice: number, kind: PodFault): Promise<string | null> {
  return await withTarget(
    choice,
    async () => arena.pods?.running() ?? [],
    async (pod) => {
      noteKilled(arena, [pod]);
      if (kind !== "pod-oom") arena.toldToEnd.push(pod.flowRunId);
      await arena.pods?.end(pod, kind);
      return `${pod.name} of ${pod.flowRunId}`;
    },
  );
}

async function cancel(arena: Arena, choice: number): Promise<string | null> {
  return await withTarget(
    choice,
    () => arena.readRuns(true),
    async ({ id, name }) => {
      // If the response is lost, the server may have accepted.
      const decision = await arena.call((api) => api.setState(id, "CANCELLING")).catch(() => null);
      const isCancelled = decision === null || decision.status === "ACCEPT" || decision.state?.type === "CANCELLED";
      if (isCancelled) arena.cancelledAtMs.set(id, Date.now());
      const outcome = decision === null ? "no response" : `${decision.status}, ${decision.state?.name ?? ""}`;
      return `${name} ${id} (${outcome})`;
    },
  );
}

/** Waits until there is a target, and strikes one of them. */
async function withTarget<T>(
  choice: number,
  find: () => Promise<T[]>,
  act: (target: T) => Promise<string>,
): Promise<string | null> {
  for (const endMs = performance.now() + targetWaitMs; performance.now() < endMs; await delay(targetPauseMs)) {
    const targets = await find();
    const target = targets[Math.floor(choice * targets.length)];
    if (target !== undefined) return await act(target);
  }
  return null;
}
