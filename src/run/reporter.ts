// Who tells the server how a flow run ends.
import type { Ending, HookRequest } from "../infrastructure/pool-type.ts";

/** Reports the end of one flow run. Each returns the hooks that are left to the worker, or null. */
export interface Reporter {
  /** The program has ended by itself. */
  ended(ending: Ending): Promise<HooksDue | null>;
  /** The worker has ended the program; `by` completes "Worker 'w' …". */
  killed(by: string, ending: Ending): Promise<HooksDue | null>;
  /** The program was ended because the flow run is cancelled. */
  cancelled(): Promise<HooksDue | null>;
}

/** Hooks that are left to the worker, and the state that they get. */
export type HooksDue = Pick<HookRequest, "kind" | "state">;
