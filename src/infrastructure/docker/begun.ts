// Whether a program has begun, if the engine takes its container for unstarted. An engine that died in the middle of a start does
// not know this any more. A program other than Prefect's does not report that it has begun, and must not be executed twice.
import { readdir, readFile } from "node:fs/promises";
import { type ContainerDetails, inspectIfThere } from "./container-details.ts";
import type { Docker } from "./docker.ts";
import { isPodman } from "./engine/engine.ts";
import { isMissing } from "./engine/engine-error.ts";

/** Why the flow run of such a container ends. */
export const endedMeanwhile =
  "The Docker engine ended while it started the flow run's container, and does not know whether its program was executed.";

/**
 * The place of an empty file system in the container. The runtime makes the directory for it when it prepares the container,
 * before the program begins, and the directory stays.
 */
export const startMark = "/.lictor";

/** How long the engine takes to tell of a creation, in seconds. It measures both times by its own clock. */
const eventDelayS = 2;

/**
 * Returns whether the program of a container that counts as unstarted may have begun. It has certainly not begun if one of these
 * holds: the engine has not died since the creation, the runtime had not prepared the container, or it still holds the program
 * back. Throws as `Engine.request` does.
 */
export async function mayHaveBegun(docker: Docker, id: string, signal?: AbortSignal): Promise<boolean> {
  const details = await inspectIfThere(docker, id, signal);
  if (details === null) return true;
  if (await remembersCreation(docker, details, signal)) return false;
  const isMarked = details.HostConfig.Tmpfs?.[startMark] !== undefined;
  if (isMarked && !(await hasMark(docker, id, signal))) return false;
  return !(await docker.holdsBack(id));
}

/**
 * Returns whether the engine has been the same process since it created this container: it keeps its events in memory, and still
 * has that of the creation. Then it knows for sure whether the container was started. Podman keeps events on disk, so it never
 * proves this.
 */
async function remembersCreation(
  { engine }: Docker,
  { Id, Created }: ContainerDetails,
  signal?: AbortSignal,
): Promise<boolean> {
  if (isPodman(await engine.version(signal))) return false;
  const createdS = Math.floor(Date.parse(Created) / 1000) || 0;
  const filters = { type: ["container"], container: [Id], event: ["create"] };
  const query = { since: createdS - eventDelayS, until: createdS + eventDelayS, filters };
  for await (const _ of engine.lines("GET", "/events", { query, ...(signal && { signal }) })) return true;
  return false;
}

async function hasMark({ engine }: Docker, id: string, signal?: AbortSignal): Promise<boolean> {
  const call = { query: { path: startMark }, ...(signal && { signal }) };
  try {
    await engine.request("HEAD", `/containers/${id}/archive`, call);
    return true;
  } catch (error) {
    if (isMissing(error)) return false;
    throw error;
  }
}

/**
 * Returns whether a runtime on this machine has prepared the container and holds its program back. It does so until its engine
 * tells it to go on, and an engine that died meanwhile never will. False where processes cannot be read.
 */
export async function holdsBack(id: string): Promise<boolean> {
  const pids = (await readdir("/proc").catch(() => [])).filter((entry) => /^\d+$/.test(entry));
  const read = (pid: string, name: string): Promise<string> => readFile(`/proc/${pid}/${name}`, "utf8").catch(() => "");
  for (const pid of pids) {
    if (!/^[^\0]*runc\0init\0/.test(await read(pid, "cmdline"))) continue;
    if ((await read(pid, "cgroup")).includes(id)) return true;
  }
  return false;
}
