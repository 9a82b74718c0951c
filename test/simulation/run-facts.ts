// What the simulation knows of each flow run, beside what the server says.
import type { FlowPlan, Truth } from "./engine.ts";
import type { ModelRun } from "./state-rules.ts";

/** A flow run of the simulation, and what happened to it. */
export interface RunFacts {
  readonly id: string;
  readonly name: string;
  readonly plan: FlowPlan;
  readonly retries: number;
  readonly truth: Truth;
  /** When a user cancelled it. */
  cancelledAtMs: number | null;
}

/** Returns whether no worker can get the flow run, because its work queue was deleted before it was claimed. */
export function isUnreachable(run: ModelRun): boolean {
  return run.state_type === "SCHEDULED" && run.work_queue_id === null;
}
