// The one place that knows which types of work pools lictor can serve.
import type { PoolType } from "./infrastructure.ts";
import { type ProcessDependencies, processPoolType } from "./process.ts";

const poolTypes: Readonly<Record<string, (dependencies: ProcessDependencies) => PoolType>> = {
  process: processPoolType,
};

/** The names that `--type` takes. */
export const poolTypeNames: readonly string[] = Object.keys(poolTypes);

/** The type of that name, or undefined when lictor cannot serve it. */
export function findPoolType(name: string, dependencies: ProcessDependencies): PoolType | undefined {
  return poolTypes[name]?.(dependencies);
}
