// The one place that knows which types of work pools lictor can serve.
import type { PoolType } from "./pool-type.ts";
import { processPoolType } from "./process/process-infrastructure.ts";

const poolTypes: readonly PoolType[] = [processPoolType];

/** The names that `--type` takes. */
export const poolTypeNames: readonly string[] = poolTypes.map(({ name }) => name);

/** The type of that name, or undefined when lictor cannot serve it. */
export function findPoolType(name: string): PoolType | undefined {
  return poolTypes.find((type) => type.name === name);
}
