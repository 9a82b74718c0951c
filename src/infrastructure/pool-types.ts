// The types of work pools that lictor can serve.
import { dockerPoolType } from "./docker/docker-pool-type.ts";
import { kubernetesPoolType } from "./kubernetes/kubernetes-pool-type.ts";
import type { PoolType } from "./pool-type.ts";
import type { poolTypeNames } from "./pool-type-names.ts";
import { processPoolType } from "./process/process-infrastructure.ts";

const poolTypes: Readonly<Record<(typeof poolTypeNames)[number], PoolType>> = {
  process: processPoolType,
  docker: dockerPoolType,
  kubernetes: kubernetesPoolType,
};

/** Returns the type with this name, or undefined if lictor cannot serve it. */
export function findPoolType(name: string): PoolType | undefined {
  return Object.values(poolTypes).find((type) => type.name === name);
}
