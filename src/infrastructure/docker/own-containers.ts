// Finds the containers of a work pool, whoever started them, and removes those that ended long ago.
import { monotonicMs, timeoutSignal, wallClockMs } from "../../async/clock.ts";
import type { StartedProgram } from "../pool-type.ts";
import { mayHaveBegun } from "./begun.ts";
import { inspect, inspectIfThere, type ListedContainer, listContainers, neverStarted } from "./container-details.ts";
import { labelFilter, readLabels } from "./container-labels.ts";
import { isEnded } from "./container-watch.ts";
import type { Docker } from "./docker.ts";
import { isMissing } from "./engine/engine-error.ts";
import { containerOf, toHandle } from "./handle.ts";
import { removeContainer } from "./start-container.ts";

/** Tens of thousands of ended containers may be kept, and each is 2 kB in a list. So they are listed this seldom. */
const listEndedMs = 600_000;
/** Another worker may be about to start a container, or to read how it ended. */
const leastKeptMs = 600_000;
/** Nobody needs a container that was never started, unless its worker waits for the engine. */
const unstartedKeptMs = 3_600_000;
/** At most so many ended containers are looked at per call, for at most this time. */
const maxLooks = 100;
const looksMs = 10_000;

/** What is known of the containers of one work pool that do not run. */
interface Ended {
  listedAt: number;
  /** Those that were returned already. */
  returned: ReadonlySet<string>;
  /** Those that may have to be removed, the oldest first. */
  old: ListedContainer[];
}

/** The containers of all work pools on the engine. */
export class OwnContainers {
  readonly #pools = new Map<string, Ended>();

  constructor(private readonly docker: Docker) {}

  /**
   * Returns the containers of a work pool that run, and once those that do not. Removes some of those that ended longer ago
   * than they are kept. Containers of other pools and of other programs are not touched. Throws as `Engine.request` does.
   */
  async find(workPoolId: string): Promise<StartedProgram[]> {
    const { docker } = this;
    const ended = this.#pools.get(workPoolId) ?? { listedAt: Number.NEGATIVE_INFINITY, returned: new Set(), old: [] };
    this.#pools.set(workPoolId, ended);
    const all = monotonicMs() - ended.listedAt >= listEndedMs;
    const daemonId = await docker.patience.once(() => docker.engine.id(timeoutSignal(looksMs)));
    const list = await docker.patience.once(() => listContainers(docker, labelFilter({ workPoolId }), { all }));
    // A proxy in front of the engine may ignore the filter.
    const own = list.filter(({ Labels }) => readLabels(Labels)?.workPoolId === workPoolId);
    const found = own.filter(({ Id }) => !ended.returned.has(Id));
    if (all) {
      const still = own.filter(({ State }) => isEnded(State) || State === "created");
      ended.listedAt = monotonicMs();
      ended.returned = new Set(still.map(({ Id }) => Id));
      ended.old = still.filter((container) => mayBeOld(docker, container)).reverse();
    } else {
      await removeOld(docker, ended.old);
    }
    const started: StartedProgram[] = [];
    for (const container of found) started.push(...(await toStarted(docker, container, daemonId)));
    return started;
  }

  /** Removes a container that was not started, because its flow run does not wait for it. Throws as `Engine.request` does. */
  async discard({ flowRunId, handle }: StartedProgram): Promise<void> {
    const { docker } = this;
    const id = containerOf(handle);
    if (id === null || docker.watch.has(id)) return;
    const over = timeoutSignal(looksMs);
    const details = await inspectIfThere(docker, id, over);
    if (details === null || !neverStarted(details.State.Status)) return;
    docker.services.log.info(`Removing container ${id} of flow run ${flowRunId}, which does not wait for it any more`);
    await removeContainer(docker, id, over);
  }
}

async function toStarted(
  docker: Docker,
  { Id, Labels, State }: ListedContainer,
  daemonId: string | null,
): Promise<StartedProgram[]> {
  const facts = readLabels(Labels);
  if (facts === null) return [];
  const { flowRunId, instance, workerName, attempt, executesItself } = facts;
  const handle = toHandle(docker.engine.address, Id, {
    flowRunId,
    attempt,
    executesItself,
    daemonId,
    autoRemove: false,
  });
  const isBegun = !neverStarted(State) || (!executesItself && (await isInDoubt(docker, Id)));
  return [{ flowRunId, instance, workerName, proposals: attempt, handle, mayHaveBegun: isBegun }];
}

async function isInDoubt(docker: Docker, id: string): Promise<boolean> {
  const over = timeoutSignal(looksMs);
  const details = await inspectIfThere(docker, id, over);
  return details === null || (await mayHaveBegun(docker, details, over));
}

/** Returns for how long a container in this state is kept. */
function keptMs({ keepMs }: Docker, state: string): number {
  return Math.max(state === "created" ? Math.min(keepMs, unstartedKeptMs) : keepMs, leastKeptMs);
}

/** A container that was created later cannot have ended earlier. */
function mayBeOld(docker: Docker, { Created, State }: ListedContainer): boolean {
  return wallClockMs() - Created * 1000 > keptMs(docker, State);
}

/** Removes the first containers of the list from it, and from the engine if they are old and are not watched here. */
async function removeOld(docker: Docker, list: ListedContainer[]): Promise<void> {
  const over = timeoutSignal(looksMs);
  for (const { Id, Created } of list.splice(0, maxLooks)) {
    if (docker.watch.has(Id)) continue;
    try {
      const { State } = await inspect(docker, Id, over);
      // A container that was never started has the year 1.
      const endedMs = Math.max(Date.parse(State.FinishedAt) || 0, Created * 1000);
      const isStill = isEnded(State.Status) || State.Status === "created";
      if (isStill && wallClockMs() - endedMs > keptMs(docker, State.Status)) await removeContainer(docker, Id, over);
    } catch (error) {
      if (!isMissing(error)) docker.services.log.debug({ err: error }, `Container ${Id} could not be removed`);
    }
    if (over.aborted) return;
  }
}
