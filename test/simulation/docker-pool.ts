// The real pool type `docker` with a container engine of the simulation.
import type { JsonObject } from "../../src/api/wire.ts";
import { openDockerOn } from "../../src/infrastructure/docker/docker-infrastructure.ts";
import { Engine } from "../../src/infrastructure/docker/engine/engine.ts";
import type { SendToEngine } from "../../src/infrastructure/docker/engine/send-request.ts";
import type { PoolType } from "../../src/infrastructure/pool-type.ts";

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
    open: async (services) => openDockerOn(new Engine(address, requestLimitMs, send), { ...services, environment }),
  };
}

/** Returns a base job template. Output is not read, because its position is stored in a real file. */
export function dockerTemplate(autoRemove: boolean): JsonObject {
  const job_configuration = {
    image: "i:1",
    image_pull_policy: "IfNotPresent",
    stream_output: false,
    auto_remove: autoRemove,
  };
  return { job_configuration, variables: { properties: {} } };
}
