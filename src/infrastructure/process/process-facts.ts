// What a handle says about a process, so that a later worker can continue with it.
import type { JsonObject } from "../../api/wire.ts";
import type { ProcessIdentity } from "../../process/process-identity.ts";
import type { LaunchFacts } from "../../program/launch.ts";
import type { Handle } from "../execution.ts";

/** The proof of a handle. All of it is plain data. */
export interface ProcessFacts {
  readonly flowRunId: string;
  /** The directories to remove at the end. */
  readonly temporary: readonly string[];
  /** The working directory of the process. */
  readonly cwd: string;
  /** Whether the output goes to files in the directory of the flow run. */
  readonly hasOutputFiles: boolean;
  /** Whether these files are not printed, but only read for the logs of the flow run. */
  readonly isUnprinted?: boolean;
  /** The directory for the result and parameters of a program whose states the worker reports. Missing for an engine. */
  readonly programDirectory?: string;
  readonly sendsHeartbeats: boolean;
  readonly launch: LaunchFacts;
  /** Null or missing before the start, and if the system did not tell it. */
  readonly identity?: ProcessIdentity | null;
}

/** Returns the handle of a process. `pid` is empty before the start. */
export function toHandle(pid: string, facts: ProcessFacts): Handle {
  return { poolType: "process", identifier: pid, proof: facts as unknown as JsonObject };
}

/** Returns the facts in a handle; null if it has none, because its record was written before the process was prepared. */
export function readFacts({ proof }: Handle): ProcessFacts | null {
  const facts = proof as unknown as Partial<ProcessFacts>;
  return facts.launch && facts.cwd !== undefined && Array.isArray(facts.temporary) ? (facts as ProcessFacts) : null;
}
