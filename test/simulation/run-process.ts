// Starts what a flow run executes: an engine, or a program that reports nothing itself.
import { type EngineParts, type FlowPlan, FlowProcess, type Truth } from "./engine.ts";
import { ProgramProcess } from "./program-process.ts";
import type { Owner } from "./virtual-clock.ts";

/** The process of a flow run. */
export type RunProcess = FlowProcess | ProgramProcess;

/** What the start of processes needs of the world. */
export interface ProcessParts extends EngineParts {
  planOf(flowRunId: string): FlowPlan;
  truthOf(flowRunId: string): Truth;
  nextPid(): number;
}

/** Starts the process of a flow run. `controller` holds the control channel of an engine; null for none. */
export function startProcess(
  parts: ProcessParts,
  { flowRunId, controller, pid = parts.nextPid() }: { flowRunId: string; controller: Owner | null; pid?: number },
): RunProcess {
  const [plan, truth] = [parts.planOf(flowRunId), parts.truthOf(flowRunId)];
  if (plan.isProgram) return new ProgramProcess(parts, pid, flowRunId, plan, truth);
  return new FlowProcess(parts, pid, flowRunId, plan, truth, controller);
}
