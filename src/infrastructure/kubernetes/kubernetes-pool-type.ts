// The row of the type `kubernetes` in the list of pool types. The rest is loaded when such a work pool is served.
import type { PoolType } from "../pool-type.ts";
import { kubernetesBaseJobTemplate } from "./base-job-template.ts";

/** The type `kubernetes`. */
export const kubernetesPoolType: PoolType = {
  name: "kubernetes",
  isLocal: false,
  baseJobTemplate: kubernetesBaseJobTemplate,
  open: async (services) => await (await import("./kubernetes-infrastructure.ts")).openKubernetes(services),
};
