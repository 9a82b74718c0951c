// Finds processes that another worker started and that still run.
import { flowRunVariable, wasStartedWith } from "../../process/read-process-environment.ts";
import { signalGroup, terminate, terminateGraceMs } from "../../process/terminate.ts";
import type { Execution, Handle } from "../execution.ts";

/**
 * Returns the process of a handle. Returns null if it has ended, was started for another flow run, or runs on another
 * machine. Returns null also if it has no process group of its own. Throws the system's error if its environment cannot
 * be read now.
 */
export async function findAbandonedProcess({ identifier, proof }: Handle): Promise<Pick<Execution, "stop"> | null> {
  const pid = Number(/^\d+$/.exec(identifier)?.[0]);
  // A signal to group 1 would reach every process.
  if (!(pid > 1) || !(await wasStartedWith(pid, flowRunVariable, String(proof.flowRunId)))) return null;
  // Prefect's worker starts commands in its own process group. A signal to the group would end that worker.
  if (!signalGroup(pid, 0)) return null;
  return {
    async stop(_why, { leave }) {
      await terminate({ pid }, terminateGraceMs, leave);
      return "stopped";
    },
  };
}
