// The real pool type `docker` with a container engine of the simulation.
import type { JsonObject } from "../../src/api/wire.ts";
import { openDockerOn } from "../../src/infrastructure/docker/docker-infrastructure.ts";
import { Engine } from "../../src/infrastructure/docker/engine/engine.ts";
import type { SendToEngine } from "../../src/infrastructure/docker/engine/send-request.ts";
import type { Infrastructure, Job, PoolType } from "../../src/infrastructure/pool-type.ts";

import type { FlowPlan } from "./engine.ts";

const requestLimitMs = 60_000;
/** No file of this machine may have an influence. */
const environment = { DOCKER_CONFIG: "/nowhere" };
const address = { host: "tcp://engine:2375", socketPath: null, tcp: null, tls: null, baseUrl: "http://engine:2375" };

/** Returns the pool type whose requests to the engine are sent by `send`. */
export function dockerPoolOn(send: SendToEngine): PoolType {
  return {
    name: "docker",
    isLocal: false,
    baseJobTemplate: dockerTemplate(false),
    open: async (services) =>
      withoutFiles(openDockerOn(new Engine(address, requestLimitMs, send), { ...services, environment }, seesProcess)),
  };
}

/** The engines of the simulation are on other machines. */
const seesProcess = async (): Promise<boolean> => false;

/** Changes a pool type: the position in the output would be stored in a real file. */
export function withoutFiles<J extends Job>(infrastructure: Infrastructure<J>): Infrastructure<J> {
  return {
    ...infrastructure,
    start: (job, options) => infrastructure.start(job, { ...options, directory: null }),
    adopt: (handle, options) => infrastructure.adopt(handle, { ...options, directory: null }),
  };
}

/** Returns the job variables of a flow run. An engine needs none. */
export function programVariables({ isProgram, timeoutSeconds }: FlowPlan): JsonObject {
  return isProgram ? { program: ["any"], timeout_seconds: timeoutSeconds } : {};
}

/** Returns a base job template. The output of engines is not read. */
export function dockerTemplate(autoRemove: boolean): JsonObject {
  const job_configuration = {
    image: "i:1",
    image_pull_policy: "IfNotPresent",
    stream_output: false,
    auto_remove: autoRemove,
    program: "{{ program }}",
    timeout_seconds: "{{ timeout_seconds }}",
  };
  return { job_configuration, variables: { properties: { program: {}, timeout_seconds: {} } } };
}
