// The states that a worker proposes. Source: prefect states.py.
import type { State, StateProposal, StateType } from "../api/wire.ts";

/** The claim of a flow run. */
export const pendingState: StateProposal = { type: "PENDING", name: "Pending", message: null };

/** The claim stands and the process is about to start; sent since 3.6.22. */
export const submittingState: StateProposal = { type: "PENDING", name: "Submitting", message: null };

/** The process ended without a verdict of the engine. */
export function crashedState(message: string): StateProposal {
  return { type: "CRASHED", name: "Crashed", message };
}

/** What the hooks of a cancellation are told: whatever state the flow run is in by then. */
export function cancellingState(message: string): StateProposal {
  return { type: "CANCELLING", name: "Cancelling", message };
}

/** Ended because somebody asked for it. */
export function cancelledState(message: string): StateProposal {
  return { type: "CANCELLED", name: "Cancelled", message };
}

/** Back to the work pool, for any worker to take at once. */
export function rescheduledState(message: string): StateProposal {
  return { type: "SCHEDULED", name: "Scheduled", message, scheduled_time: new Date().toISOString() };
}

const finalTypes: ReadonlySet<StateType> = new Set(["COMPLETED", "FAILED", "CANCELLED", "CRASHED"]);

/** True for a state after which nothing more happens. */
export function isFinal(state: Pick<State, "type"> | null | undefined): boolean {
  return state ? finalTypes.has(state.type) : false;
}
