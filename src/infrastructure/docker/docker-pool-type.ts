// The row of the type `docker` in the list of pool types. The rest is loaded when such a work pool is served.
import type { PoolType } from "../pool-type.ts";
import { dockerBaseJobTemplate } from "./base-job-template.ts";

/** The type `docker`. */
export const dockerPoolType: PoolType = {
  name: "docker",
  isLocal: false,
  baseJobTemplate: dockerBaseJobTemplate,
  open: async (services) => await (await import("./docker-infrastructure.ts")).openDocker(services),
};
