// Creates the container of a flow run. Source: prefect_docker/worker.py _create_container.
import type { StartOptions } from "../pool-type.ts";
import { listContainers } from "./container-details.ts";
import { labelFilter, readLabels, toLabels } from "./container-labels.ts";
import { type CreateRequest, knowsHostGateway, toContainerName, toCreateRequest } from "./create-request.ts";
import { type Docker, logOf } from "./docker.ts";
import { type DockerJob, executesItself } from "./docker-job.ts";
import { isPodman } from "./engine/engine.ts";
import { readConfig } from "./engine/engine-address.ts";
import { EngineError } from "./engine/engine-error.ts";
import { creationFailed } from "./events.ts";

/** A container that cannot be created or started. The message has the engine's reason. */
export class ContainerError extends Error {
  override readonly name = "ContainerError";
}

/** Throws ContainerError if the engine refuses. After other errors, the container may exist all the same. */
export async function createContainer(docker: Docker, job: DockerJob, options: StartOptions): Promise<string> {
  const { patience } = docker;
  const { signal, flowRunId } = options;
  const log = logOf(docker, flowRunId);
  const name = await toContainerName(job.name);
  log.info(`Creating Docker container '${name ?? "(without a name)"}'...`);
  let isRepeated = false;
  try {
    return await explained("Container could not be created", () =>
      patience.whileAway(async () => {
        // The response to the first request may have been lost.
        const existing = isRepeated ? await findContainer(docker, options) : null;
        isRepeated = true;
        return existing ?? (await createWithFreeName(docker, name, await toRequest(docker, job, options), flowRunId));
      }, signal),
    );
  } catch (error) {
    if (!signal.aborted) options.onEvent(creationFailed);
    throw error;
  }
}

async function toRequest({ engine, services }: Docker, job: DockerJob, options: StartOptions): Promise<CreateRequest> {
  const version = await engine.version(options.signal);
  return toCreateRequest(job, {
    labels: toLabels({
      flowRunId: options.flowRunId,
      workPoolId: job.workPoolId,
      instance: options.instance ?? "",
      workerName: job.workerName,
      attempt: options.proposals,
      streamsOutput: job.streamOutput,
      executesItself: executesItself(job),
    }),
    knowsHostGateway: knowsHostGateway(version.Version, isPodman(version)),
    dockerConfig: readConfig(services.environment),
    engineHost: engine.address.host,
  });
}

/**
 * A taken name gets a number, as in the reference. Nothing but its time limit ends the request, because the engine would go
 * on with it, and nobody would know the container.
 */
async function createWithFreeName(
  docker: Docker,
  name: string | null,
  { platform, body }: CreateRequest,
  flowRunId: string,
): Promise<string> {
  for (let number = 0; ; number++) {
    const numbered = name === null ? undefined : number === 0 ? name : `${name}-${number}`;
    try {
      const query = { name: numbered, platform: platform ?? undefined };
      const { Id } = await docker.engine.request<{ Id: string }>("POST", "/containers/create", { query, body });
      logOf(docker, flowRunId).info(`Docker container '${numbered ?? Id.slice(0, 12)}' created successfully.`);
      return Id;
    } catch (error) {
      if (!isNameTaken(error)) throw error;
      logOf(docker, flowRunId).info(`Docker container name '${numbered}' is taken; trying '${name}-${number + 1}'.`);
    }
  }
}

/** Docker says `Conflict. The container name "/x" is already in use`, and Podman says that the name is in use. */
function isNameTaken(error: unknown): boolean {
  if (!(error instanceof EngineError)) return false;
  const isConflict = error.status === 409 || error.status === 500;
  return isConflict && /container name/i.test(error.text) && /conflict|already in use/i.test(error.text);
}

/** Returns the container of this attempt; null if there is none. */
export async function findContainer(
  docker: Docker,
  { flowRunId, proposals, signal }: Pick<StartOptions, "flowRunId" | "proposals" | "signal">,
): Promise<string | null> {
  const list = await listContainers(docker, labelFilter({ flowRunId }), { all: true, signal });
  const ofAttempt = list.find(({ Labels }) => {
    const { attempt = [] } = readLabels(Labels) ?? {};
    return proposals.length === 0 || attempt.some((id) => proposals.includes(id));
  });
  return ofAttempt?.Id ?? null;
}

/** Calls `act`. A refusal of the engine becomes a ContainerError that begins with `what`. */
export async function explained<T>(what: string, act: () => Promise<T>): Promise<T> {
  try {
    return await act();
  } catch (error) {
    if (!(error instanceof EngineError)) throw error;
    throw new ContainerError(`${what}: ${error.text.replace(/\.?$/, ".")}`, { cause: error });
  }
}
