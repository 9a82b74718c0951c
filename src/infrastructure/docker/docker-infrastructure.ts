// Work pools of type `docker`: a flow run is a container. Loaded only when such a work pool is served.
// Source: prefect_docker/worker.py.
import { monotonicMs } from "../../async/clock.ts";
import { findStartedWith, flowRunVariable } from "../../process/read-process-environment.ts";
import { goneExecution } from "../gone-execution.ts";
import type { Infrastructure, InfrastructureServices } from "../pool-type.ts";
import { adoptContainer, findAbandonedContainer } from "./adopt-container.ts";
import { endedMeanwhile } from "./begun.ts";
import { containerExecution } from "./container-execution.ts";
import { ContainerWatch } from "./container-watch.ts";
import type { Docker } from "./docker.ts";
import { type DockerJob, executesItself, toDockerJob } from "./docker-job.ts";
import { Engine } from "./engine/engine.ts";
import { findEngine } from "./engine/engine-address.ts";
import { EngineError, EngineUnreachableError, isAway } from "./engine/engine-error.ts";
import { Patience } from "./engine/patience.ts";
import { OwnContainers } from "./own-containers.ts";
import { keepHours, limitSeconds } from "./settings.ts";
import { startContainer } from "./start-container.ts";

/** How long the engine's answer to the question before a claim counts. */
const answerLastsMs = 1_000;
/** The time limit for that question. */
const pingMs = 5_000;

/** The end of a program that has begun, in a container whose engine takes it for unstarted. */
const unknownToEngine =
  "The Docker engine ended while it started the flow run's container, and does not know how its program ended.";

/** Opens the type. Throws EngineAddressError and DockerSettingError. The engine itself may be away. */
export async function openDocker(services: InfrastructureServices): Promise<Infrastructure<DockerJob>> {
  const { environment } = services;
  return openDockerOn(new Engine(findEngine(environment), limitSeconds(environment) * 1000), services, seesProcess);
}

async function seesProcess(flowRunId: string): Promise<boolean> {
  return (await findStartedWith(flowRunVariable, flowRunId)).length > 0;
}

/** Opens the type with this engine. Throws DockerSettingError. */
export function openDockerOn(
  engine: Engine,
  services: InfrastructureServices,
  seesProcess: Docker["seesProcess"],
): Infrastructure<DockerJob> {
  const { environment, log } = services;
  const patience = new Patience(log);
  const watch = new ContainerWatch(engine, patience, log);
  const docker: Docker = { engine, patience, watch, services, seesProcess, keepMs: keepHours(environment) * 3_600_000 };
  const own = new OwnContainers(docker);
  return {
    toJob: (fields, facts) => toDockerJob(fields, facts),
    obstacle: obstacleOf(docker),
    async start(job, options) {
      const { details, handle } = await startContainer(docker, job, options);
      const why = executesItself(job) ? unknownToEngine : endedMeanwhile;
      if (details === null) return goneExecution(handle, { kind: "gone", why, mayHaveBegun: true });
      return containerExecution(docker, { details, handle, isAdopted: false }, options);
    },
    adopt: (handle, options) => adoptContainer(docker, handle, options),
    // The code of the flow is in its image, so nobody can run its hooks here.
    hooksOfLost: () => ({ runsItself: { cancellation: true, crashed: true }, run: async () => {} }),
    findAbandoned: (handle) => findAbandonedContainer(docker, handle),
    findStarted: (workPoolId) => own.find(workPoolId),
    discard: (program) => own.discard(program),
    integrations: async () => [],
    [Symbol.dispose]: () => watch[Symbol.dispose](),
  };
}

/** An engine that fails is away. One that refuses this question may answer others, and says why if it does not. */
function throwIfSick(error: unknown, host: string): void {
  if (!(error instanceof EngineError) || isAway(error)) throw error;
  if (error.status >= 500) throw new EngineUnreachableError(host, `${error.status}: ${error.text}`, { cause: error });
}

/**
 * Asks the engine whether it is there. Claims at the same time share one question. Its answer does not count any more once
 * another call has found out that the engine is away, or back.
 */
function obstacleOf({ engine, patience }: Docker): () => Promise<string | null> {
  let asked: { readonly at: number; readonly wasAway: boolean; readonly answer: Promise<string | null> } | null = null;
  return async () => {
    const wasAway = patience.problem !== null;
    if (asked === null || asked.wasAway !== wasAway || monotonicMs() - asked.at > answerLastsMs) {
      const answer = patience
        .once(() =>
          engine
            .request("GET", "/_ping", { limitMs: pingMs })
            .catch((error: unknown) => throwIfSick(error, engine.address.host)),
        )
        .then(
          () => null,
          (error: unknown) => (error as Error).message,
        );
      asked = { at: monotonicMs(), wasAway, answer };
    }
    return await asked.answer;
  };
}
