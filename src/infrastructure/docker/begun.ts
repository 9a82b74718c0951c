// Whether a program has begun, if the engine takes its container for unstarted. An engine that died in the middle of a start does
// not know this any more. A program other than Prefect's does not report that it has begun, and must not be executed twice.
import type { ContainerDetails } from "./container-details.ts";
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
 * holds: the engine has not died since the creation, or the runtime had not prepared the container. Throws as `Engine.request` does.
 */
export async function mayHaveBegun(docker: Docker, details: ContainerDetails, signal: AbortSignal): Promise<boolean> {
  if (await remembersCreation(docker, details, signal)) return false;
  const isMarked = details.HostConfig.Tmpfs?.[startMark] !== undefined;
  return !isMarked || (await hasMark(docker, details, signal));
}

/**
 * Returns whether the engine has been the same process since it created this container: it keeps its events in memory, and still
 * has that of the creation. Then it knows for sure whether the container was started. Podman keeps events on disk, so it never
 * proves this.
 */
async function remembersCreation(
  { engine }: Docker,
  { Id, Created }: ContainerDetails,
  signal: AbortSignal,
): Promise<boolean> {
  if (isPodman(await engine.version(signal))) return false;
  const createdS = Math.floor(Date.parse(Created) / 1000) || 0;
  const filters = { type: ["container"], container: [Id], event: ["create"] };
  const query = { since: createdS - eventDelayS, until: createdS + eventDelayS, filters };
  for await (const _ of engine.lines("GET", "/events", { query, signal })) return true;
  return false;
}

async function hasMark({ engine }: Docker, { Id }: ContainerDetails, signal: AbortSignal): Promise<boolean> {
  try {
    await engine.request("HEAD", `/containers/${Id}/archive`, { query: { path: startMark }, signal });
    return true;
  } catch (error) {
    if (isMissing(error)) return false;
    throw error;
  }
}
