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

/** What is started. */
interface StartedProcess {
  readonly flowRunId: string;
  /** Who holds the control channel of an engine; null for none. */
  readonly controller: Owner | null;
  readonly pid?: number;
  /** What an engine does after SIGTERM. */
  readonly onTermination?: "crash" | "reschedule";
}

/** Starts the process of a flow run. */
export function startProcess(
  parts: ProcessParts,
  { flowRunId, controller, pid = parts.nextPid(), onTermination = "crash" }: StartedProcess,
): RunProcess {
  const [plan, truth] = [parts.planOf(flowRunId), parts.truthOf(flowRunId)];
  if (plan.isProgram) return new ProgramProcess(parts, pid, flowRunId, plan, truth);
  return new FlowProcess(parts, pid, flowRunId, plan, truth, controller, onTermination);
}
