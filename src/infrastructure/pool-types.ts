// The one place that knows which types of work pools lictor can serve.
import type { PythonFinding } from "../engine/find-python.ts";
import type { PoolType } from "./infrastructure.ts";
import { processPoolType } from "./process.ts";

type MakePoolType = (python: Promise<PythonFinding>) => PoolType;

const poolTypes: Readonly<Record<string, MakePoolType>> = { process: processPoolType };

/** The names that `--type` takes. */
export const poolTypeNames: readonly string[] = Object.keys(poolTypes);

/** The type of that name, or undefined when lictor cannot serve it. */
export function findPoolType(name: string, python: Promise<PythonFinding>): PoolType | undefined {
  return poolTypes[name]?.(python);
}
