// The states that a worker proposes. Source: prefect states.py.
import type { State, StateProposal, StateType } from "../api/wire.ts";

/** Returns the claim of a flow run. */
export function pendingState(message: string | null): StateProposal {
  return { type: "PENDING", name: pending, message };
}

/** The name of that state. */
export const pending = "Pending";

/** Returns the state of a flow run whose program is about to start. Workers of the reference send it since 3.6.22. */
export function submittingState(message: string | null): StateProposal {
  return { type: "PENDING", name: "Submitting", message };
}

/** Returns the state of a flow run whose program waits for infrastructure. Source: prefect states.py InfrastructurePending. */
export function infrastructurePendingState(reason: string): StateProposal {
  return { type: "PENDING", name: infrastructurePending, message: reason };
}

/** The name of that state. */
export const infrastructurePending = "InfrastructurePending";

/** Returns the state of a flow run whose process ended before its engine reported a final state. */
export function crashedState(message: string): StateProposal {
  return { type: "CRASHED", name: "Crashed", message };
}

/** Returns the state that cancellation hooks receive, whatever state the flow run has by then. */
export function cancellingState(message: string): StateProposal {
  return { type: "CANCELLING", name: "Cancelling", message };
}

/** Returns the state of a flow run that was ended because somebody cancelled it. */
export function cancelledState(message: string): StateProposal {
  return { type: "CANCELLED", name: "Cancelled", message };
}

/**
 * Returns a Scheduled state for now, so that any worker can claim the flow run again. It has no scheduled time, because the
 * server then takes its own. This machine's clock may be ahead, and the flow run would wait as long.
 */
export function rescheduledState(message: string): StateProposal {
  return { type: "SCHEDULED", name: "Scheduled", message };
}

/** The program of a flow run has started. */
export const runningState: StateProposal = { type: "RUNNING", name: "Running", message: null };

/** Returns the state of a flow run whose program succeeded. */
export function completedState(message: string | null): StateProposal {
  return { type: "COMPLETED", name: "Completed", message };
}

/** Returns the state of a flow run whose program failed. The server may answer with a retry. */
export function failedState(message: string): StateProposal {
  return { type: "FAILED", name: "Failed", message };
}

/** Returns the state of a flow run whose program ran for too long. Source: prefect flow_engine.py handle_timeout. */
export function timedOutState(seconds: number): StateProposal {
  return {
    type: "FAILED",
    name: "TimedOut",
    message: `Flow run exceeded timeout of ${pythonSeconds(seconds)} second(s)`,
  };
}

/** Python shows the time limit as a float. */
function pythonSeconds(seconds: number): string {
  return Number.isInteger(seconds) ? `${seconds}.0` : String(seconds);
}

const finalTypes: ReadonlySet<StateType> = new Set(["COMPLETED", "FAILED", "CANCELLED", "CRASHED"]);

/** Returns whether the state is final. False for no state. */
export function isFinal(state: Pick<State, "type"> | null | undefined): boolean {
  return state ? finalTypes.has(state.type) : false;
}

/** Returns the state with the latest timestamp; undefined of no states. */
export function newestState(states: readonly State[]): State | undefined {
  return states.reduce<State | undefined>(
    (last, one) => (last && stateTime(last) > stateTime(one) ? last : one),
    undefined,
  );
}

/** Returns the time of a state in ms since 1970; 0 if it has none. */
export function stateTime({ timestamp }: State): number {
  return Date.parse(timestamp ?? "") || 0;
}

/**
 * Compares times of the server. Compares as text, because servers send microseconds and Date would drop them. Undefined and null
 * equal nothing.
 */
export function isSameTime(one: string | null | undefined, other: string | null | undefined): boolean {
  const normal = (time: string): string => time.replace(/(\.\d+?)0+(?=Z|[+-]|$)/, "$1").replace(/(\+00:?00|Z)$/, "Z");
  return !!one && !!other && normal(one) === normal(other);
}
