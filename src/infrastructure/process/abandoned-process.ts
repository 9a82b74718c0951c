// Processes that another worker has started and left behind.
import { wasStartedWith } from "../../process/read-process-environment.ts";
import { signalGroup, terminate, terminateGraceMs } from "../../process/terminate.ts";
import type { Execution, Handle } from "../pool-type.ts";

/**
 * Finds the process of a handle; null when it has ended, was started for another flow run, runs elsewhere, or shares its
 * process group with a program that is not to be stopped.
 */
export async function findAbandonedProcess({ identifier, proof }: Handle): Promise<Pick<Execution, "stop"> | null> {
  const pid = Number(/^\d+$/.exec(identifier)?.[0]);
  // A signal to the group of process 1 would go to every process there is.
  if (!(pid > 1) || !(await wasStartedWith(pid, "PREFECT__FLOW_RUN_ID", String(proof.flowRunId)))) return null;
  // Prefect's worker starts commands in its own process group. A signal to the group would end that worker.
  if (!signalGroup(pid, 0)) return null;
  return {
    async stop(_why, now) {
      await terminate({ pid }, terminateGraceMs, now);
      return "stopped";
    },
  };
}
