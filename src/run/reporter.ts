// The interface of those who report how a flow run ends.
import type { Ending, HookRequest } from "../infrastructure/execution.ts";

/** Reports the states of one flow run. The other methods return the hooks that the worker has to run, or null. Throws ApiError. */
export interface Reporter {
  /** The program runs, or ended before that could be reported. Not called for a program that is gone. */
  begun(): void;
  /** Resolves when the begin is reported, or when it will not be reported any more. Never rejects. */
  hasReportedBegin(): Promise<void>;
  /** The program ended by itself. */
  ended(ending: Ending): Promise<HooksDue | null>;
  /** The worker ended the program. `by` completes "Worker 'w' …". */
  killed(by: string, ending: Ending): Promise<HooksDue | null>;
  /** The program was stopped because the flow run is cancelled. */
  cancelled(): Promise<HooksDue | null>;
  /** The program was stopped because it ran for longer than this. */
  timedOut(seconds: number): Promise<HooksDue | null>;
}

/** Hooks that the worker has to run, and the state that they receive. */
export type HooksDue = Pick<HookRequest, "kind" | "state">;
