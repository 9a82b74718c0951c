// Continues with containers of earlier workers.
import { timeoutSignal } from "../../async/clock.ts";
import type { Execution, Handle } from "../execution.ts";
import { goneExecution } from "../gone-execution.ts";
import type { AdoptOptions, RunAccess } from "../pool-type.ts";
import { endedMeanwhile, mayHaveBegun } from "./begun.ts";
import { inspectIfThere, neverStarted } from "./container-details.ts";
import { containerExecution, stopContainer } from "./container-execution.ts";
import { flowRunOf } from "./container-labels.ts";
import { isEnded } from "./container-watch.ts";
import { findContainer } from "./create-container.ts";
import { type Docker, logOf } from "./docker.ts";
import { containerOf, factsOf, toHandle } from "./handle.ts";
import { removeUnstarted } from "./start-container.ts";

/**
 * Returns the execution of a container that an earlier worker started. Waits while the engine is away. Disposing removes a
 * container that was created and not started. Returns null if another engine has the container. Throws EngineError, and the reason
 * of the signal.
 */
export async function adoptContainer(
  docker: Docker,
  handle: Handle,
  options: RunAccess & Pick<AdoptOptions, "hasEnded">,
): Promise<Execution | null> {
  const { patience } = docker;
  const { signal, flowRunId } = options;
  const { attempt = [], autoRemove = false, executesItself = true } = factsOf(handle);
  const daemonId = await patience.whileAway(() => docker.engine.id(signal), signal);
  const details = await patience.whileAway(async () => {
    const id = containerOf(handle) ?? (await findContainer(docker, { flowRunId, proposals: attempt, signal }));
    return id === null ? null : await inspectIfThere(docker, id, signal);
  }, signal);
  const isOurs = details !== null && flowRunOf(details.Config.Labels) === flowRunId;
  if (!isOurs) {
    if (!options.hasEnded && isOfAnother(docker, handle, { flowRunId, daemonId })) return null;
    const wasCreated = handle.identifier !== "";
    const why = wasCreated
      ? "ended and was removed while no worker watched it"
      : "was about to be created when its worker died";
    return goneExecution(handle, {
      kind: "gone",
      why: `The flow run's container ${why}.`,
      mayHaveBegun: wasCreated || (autoRemove && !executesItself),
    });
  }
  if (neverStarted(details.State.Status)) {
    const inDoubt = !executesItself && (await patience.whileAway(() => mayHaveBegun(docker, details, signal), signal));
    const why = inDoubt
      ? endedMeanwhile
      : "The flow run's container was created, and its worker died before it was started.";
    const gone = goneExecution(handle, { kind: "gone", why, mayHaveBegun: inDoubt });
    const ids = { flowRunId, proposals: attempt };
    // It is removed after the report. If this worker dies before, the next one sees as well that it was never started.
    return { ...gone, [Symbol.asyncDispose]: () => removeUnstarted(docker, details.Id, ids) };
  }
  const found = toHandle(docker.engine.address, details.Id, {
    flowRunId,
    attempt,
    autoRemove,
    executesItself,
    daemonId,
  });
  return containerExecution(docker, { details, handle: found, isAdopted: true }, options);
}

/** Returns whether another engine than this one has the container, as far as both have an id, and logs it. */
function isOfAnother(
  docker: Docker,
  handle: Handle,
  { flowRunId, daemonId }: { flowRunId: string; daemonId: string | null },
): boolean {
  const { daemonId: before = null } = factsOf(handle);
  if (before === null || daemonId === null || before === daemonId) return false;
  const here = `The Docker engine at ${docker.engine.address.host} is not the one that the flow run was started on`;
  const advice = "A worker of this pool with that DOCKER_HOST continues it";
  logOf(docker, flowRunId).warn(`${here} (${daemonId} instead of ${before}), so its container is not here. ${advice}.`);
  return true;
}

/** The time limit for finding a container of another worker. */
const findMs = 10_000;

/**
 * Returns the running container of a handle of another worker. Returns null if this engine has no such container of the
 * flow run, because another engine may have it.
 */
export async function findAbandonedContainer(docker: Docker, handle: Handle): Promise<Pick<Execution, "stop"> | null> {
  const id = containerOf(handle);
  if (id === null) return null;
  const details = await inspectIfThere(docker, id, timeoutSignal(findMs));
  if (!details || flowRunOf(details.Config.Labels) !== factsOf(handle).flowRunId) return null;
  return {
    async stop(_why, limits) {
      if (isEnded(details.State.Status)) return "had ended";
      return await stopContainer(docker, id, { ended: null, facts: null, why: "kill" }, limits);
    },
  };
}
