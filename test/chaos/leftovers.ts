// What the workers left behind when all flow runs and all workers have ended.
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { waitFor } from "../support/wait-for.ts";
import type { Arena } from "./arena.ts";
import { findProcesses } from "./run-processes.ts";

/** Some processes end a moment after their worker. */
const waitMs = 5_000;

/**
 * Returns a line for each process, temporary folder, instance directory with its records and its socket, and container or
 * Job that has not ended or belongs to no flow run.
 */
export async function findLeftovers(arena: Arena): Promise<string[]> {
  let found: string[] = [];
  const isClean = async (): Promise<boolean> => {
    found = await look(arena);
    return found.length === 0;
  };
  await waitFor(isClean, { timeoutMs: waitMs, what: "nothing to be left", intervalMs: 250 }).catch(() => {});
  return found;
}

async function look(arena: Arena): Promise<string[]> {
  const { homes, stateDirectory, events, startedAtMs, pods } = arena;
  const processes = (await findProcesses([...homes, ...(pods ? [pods.home] : [])])).map(
    ({ pid, flowRunId, command }) => `process ${pid} (flow run ${flowRunId ?? "none"}): ${command}`,
  );
  const temporary = await Promise.all(homes.map((home) => list(join(home, "tmp"))));
  const instances = await list(join(stateDirectory, "instances"));
  const records = await Promise.all(
    instances.map(async (instance) => {
      const content = (await readdir(instance, { recursive: true }).catch(() => [])).join(", ");
      // The name is host-pid-number.
      const pid = instance.split("-").at(-2);
      const life = events
        .filter(({ text }) => text.includes(`pid ${pid}`))
        .map(({ atMs, text }) => `\n    ${((atMs - startedAtMs) / 1000).toFixed(2)} s ${text}`);
      return `${instance}: ${content === "" ? "empty" : content}${life.join("")}`;
    }),
  );
  return [
    ...processes,
    ...temporary.flat(),
    ...records,
    ...(await lookAtContainers(arena)),
    ...(await lookAtJobs(arena)),
  ];
}

/** Ended containers of the flow runs are kept for users. */
async function lookAtContainers({ containers, readRuns }: Arena): Promise<string[]> {
  if (containers === null) return [];
  const ids = new Set((await readRuns()).map(({ id }) => id));
  return (await containers.list())
    .filter(({ state, flowRunId }) => state !== "exited" || !ids.has(flowRunId))
    .map(({ id, state, flowRunId }) => `container ${id.slice(0, 12)} (flow run ${flowRunId || "none"}): ${state}`);
}

/** Ended Jobs are kept too. */
async function lookAtJobs({ pods, readRuns }: Arena): Promise<string[]> {
  if (pods === null) return [];
  const ids = new Set((await readRuns()).map(({ id }) => id));
  return (await pods.jobs())
    .filter(({ isOver, flowRunId }) => !isOver || !ids.has(flowRunId))
    .map(({ name, isOver, flowRunId }) => `Job ${name} (flow run ${flowRunId}): ${isOver ? "ended" : "not ended"}`);
}

async function list(directory: string): Promise<string[]> {
  return (await readdir(directory).catch(() => [])).map((name) => join(directory, name));
}
