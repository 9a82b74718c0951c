// Creates and starts the container of a flow run. Source: prefect_docker/worker.py _create_and_start_container.
import { timeoutSignal } from "../../async/clock.ts";
import { sleep } from "../../async/sleep.ts";
import { ShortageError } from "../../process/system-errors.ts";
import type { Handle } from "../execution.ts";
import type { StartOptions } from "../pool-type.ts";
import { mayHaveBegun } from "./begun.ts";
import { type ContainerDetails, inspect, inspectIfThere, nameOf, neverStarted } from "./container-details.ts";
import { ContainerError, createContainer, explained, findContainer } from "./create-container.ts";
import { environmentOf } from "./create-request.ts";
import { type Docker, logOf } from "./docker.ts";
import { type DockerJob, executesItself } from "./docker-job.ts";
import { readConfig } from "./engine/engine-address.ts";
import { EngineError, isMissing, mayHaveArrived } from "./engine/engine-error.ts";
import { EnvironmentSecrets } from "./environment-secrets.ts";
import { statusEvent } from "./events.ts";
import { toHandle } from "./handle.ts";
import { provideImage } from "./provide-image.ts";

/** A container that was started. */
export interface StartedContainer {
  /** What the engine says of it; null if its program has begun, and the engine does not know that. */
  readonly details: ContainerDetails | null;
  readonly handle: Handle;
}

/** The time limit for removing the container of a failed start. */
const removalMs = 30_000;
/** The engine may die again each time. */
const mostContainers = 5;
/** The pause between two looks at a program that its engine does not know. */
const lookPauseMs = 1_000;
const halfStarted = "The engine ended while it started the container, and does not start it any more";

/**
 * Starts the container of a flow run. While the engine is away, it waits. If it throws, it has removed the container.
 * Throws ImageError, ContainerError, ShortageError, EngineError, and the reason of the signal.
 */
export async function startContainer(docker: Docker, job: DockerJob, options: StartOptions): Promise<StartedContainer> {
  const { patience } = docker;
  const { signal, flowRunId } = options;
  const log = logOf(docker, flowRunId);
  const facts = {
    flowRunId,
    attempt: options.proposals,
    autoRemove: job.autoRemove,
    executesItself: executesItself(job),
    daemonId: await patience.whileAway(() => docker.engine.id(signal), signal),
  };
  await options.onHandle(toHandle(docker.engine.address, "", facts));
  // Null while it may exist and its id is not known.
  let id: string | null | undefined;
  try {
    await patience.whileAway(() => provideImage(docker, job, log, signal), signal);
    for (let number = 1; ; number++) {
      id = null;
      id = await createContainer(docker, job, options);
      const handle = toHandle(docker.engine.address, id, facts);
      await options.onHandle(handle);
      const details = await startCreated(docker, job, id, options);
      if (typeof details !== "string") return { details, handle };
      if (details === "begun") {
        await removeUnstarted(docker, id, options);
        return { details: null, handle };
      }
      if (number === mostContainers) throw new ContainerError(`Container could not be started: ${halfStarted}.`);
      log.info(`${halfStarted}. It is removed, and another one is created.`);
      await removeUnstarted(docker, id, options);
    }
  } catch (error) {
    // The engine refused to create it.
    if (id === null && error instanceof ContainerError) id = undefined;
    if (id !== undefined) await removeUnstarted(docker, id, options);
    throw secretsOf(docker, job).hideInError(toShortage(error));
  }
}

/** Returns the started container, or why the engine does not start it. */
async function startCreated(
  docker: Docker,
  job: DockerJob,
  id: string,
  options: StartOptions,
): Promise<ContainerDetails | "half started" | "begun"> {
  const { signal, flowRunId, onEvent } = options;
  const { patience } = docker;
  const created = await patience.whileAway(() => inspect(docker, id, signal), signal);
  onEvent(statusEvent(created));
  await connectNetworks(docker, job, id, signal);
  void docker.watch.watch(id);
  const outcome = await explained("Container could not be started", () => startOnce(docker, job, id, options));
  if (outcome !== "started") return outcome;
  const details = await patience.whileAway(() => inspect(docker, id, signal), signal).catch(() => created);
  logOf(docker, flowRunId).info(`Docker container '${nameOf(details)}' has status '${details.State.Status}'`);
  if (details.State.Status !== created.State.Status) onEvent(statusEvent(details));
  return details;
}

/** Returns what a message about the start must not have. */
function secretsOf({ engine, services }: Docker, job: DockerJob): EnvironmentSecrets {
  const environment = environmentOf(job, {
    dockerConfig: readConfig(services.environment),
    engineHost: engine.address.host,
  });
  const [program = ""] = job.program.command ?? [];
  return new EnvironmentSecrets(environment, [job.image, program, ...job.networks, ...job.volumes]);
}

/** The first network is part of the create call. Engines before 25 take no second one there. */
async function connectNetworks(
  docker: Docker,
  { networks }: DockerJob,
  id: string,
  signal: AbortSignal,
): Promise<void> {
  for (const network of networks.slice(1)) {
    await explained(`Container could not be connected to network '${network}'`, () =>
      docker.patience.whileAway(async () => {
        const { Id } = await docker.engine.request<{ Id: string }>("GET", `/networks/${network}`, { signal });
        const body = { Container: id, EndpointConfig: {} };
        await docker.engine.request("POST", `/networks/${Id}/connect`, { body, signal }).catch((error: unknown) => {
          // The response to an earlier request was lost.
          if (!(error instanceof EngineError && /already (exists|attached|connected)/i.test(error.text))) throw error;
        });
      }, signal),
    );
  }
}

/**
 * Starts the container. If the response to a request is lost, the container may run, and it may even have ended. Then the
 * engine would start it again, and the flow would be executed twice. An engine that died in the middle cannot be asked:
 * - "half started": what it had prepared is in the way of another start, and it does not clean that up.
 * - "begun": the program has begun, as the flow run's state shows, and the engine does not know it. It has ended if it ran on
 *   this machine; elsewhere nobody can see it. A program other than Prefect's has no such state, so it counts as begun unless
 *   something else proves that it has not.
 */
async function startOnce(
  docker: Docker,
  job: DockerJob,
  id: string,
  { signal, flowRunId, isAwaited }: StartOptions,
): Promise<"started" | "half started" | "begun"> {
  const isSeen = (): Promise<boolean> => docker.seesProcess(flowRunId);
  const hasBegun = async (details: ContainerDetails): Promise<boolean> =>
    executesItself(job) ? !(await isAwaited()) : await mayHaveBegun(docker, details, signal);
  let isInDoubt = false;
  return await docker.patience.whileAway(async () => {
    // An engine that was frozen may execute the request from before right now.
    if (isInDoubt) await sleep(lookPauseMs, signal);
    signal.throwIfAborted();
    const unstarted = isInDoubt ? await inspectUnstarted(docker, id, signal) : null;
    if (isInDoubt && unstarted === null) return "started";
    if (unstarted !== null && (await hasBegun(unstarted))) {
      while (await isSeen()) {
        await sleep(lookPauseMs, signal);
        signal.throwIfAborted();
      }
      return "begun";
    }
    // Asked before, so that a failure of the request below is that of the start.
    await docker.engine.version(signal);
    try {
      await docker.engine.request("POST", `/containers/${id}/start`, { signal });
      return "started";
    } catch (error) {
      const isInTheWay = isInDoubt && error instanceof EngineError && /already exists/i.test(error.text);
      if (isInTheWay && !(await isSeen())) return "half started";
      isInDoubt ||= mayHaveArrived(error);
      throw error;
    }
  }, signal);
}

/** Returns null if it was started. A missing container was, and has ended, because only then anybody removes it. */
async function inspectUnstarted(docker: Docker, id: string, signal: AbortSignal): Promise<ContainerDetails | null> {
  const details = await inspectIfThere(docker, id, signal);
  return details !== null && neverStarted(details.State.Status) ? details : null;
}

/** A full disk of the engine is no fault of the flow run. */
function toShortage(error: unknown): unknown {
  const { cause = error } = error as Error;
  if (!(cause instanceof Error && /no space left on device|disk quota exceeded/i.test(cause.message))) return error;
  return new ShortageError(
    "ENOSPC",
    `${(error as Error).message} The disk of the Docker engine is full. Make room there.`,
    {
      cause,
    },
  );
}

/** Removes a container that must not run. Failing that, the next worker or the cleaning removes it. Never rejects. */
export async function removeUnstarted(
  docker: Docker,
  id: string | null,
  { flowRunId, proposals }: Pick<StartOptions, "flowRunId" | "proposals">,
): Promise<void> {
  if (id !== null) docker.watch.unwatch(id);
  const signal = timeoutSignal(removalMs);
  try {
    await docker.patience.whileAway(async () => {
      const left = id ?? (await findContainer(docker, { flowRunId, proposals, signal }));
      if (left !== null) await removeContainer(docker, left, signal);
    }, signal);
  } catch (error) {
    const name = id === null ? "A container" : `Container ${id}`;
    logOf(docker, flowRunId).warn({ err: error }, `${name} of a failed start could not be removed`);
  }
}

/** Removes a container and its anonymous volumes, also if it runs. A missing one is no failure. */
export async function removeContainer({ engine }: Docker, id: string, signal: AbortSignal): Promise<void> {
  try {
    await engine.request("DELETE", `/containers/${id}`, { query: { force: true, v: true }, signal });
  } catch (error) {
    const isInProgress = error instanceof EngineError && error.status === 409;
    if (!isInProgress && !isMissing(error)) throw error;
  }
}
