// The list of the types of work pools that lictor can serve.
import type { PoolType } from "./pool-type.ts";
import { processPoolType } from "./process/process-infrastructure.ts";

const poolTypes: readonly PoolType[] = [processPoolType];

/** The names that `--type` accepts. */
export const poolTypeNames: readonly string[] = poolTypes.map(({ name }) => name);

/** Returns the type with this name, or undefined if lictor cannot serve it. */
export function findPoolType(name: string): PoolType | undefined {
  return poolTypes.find((type) => type.name === name);
}
