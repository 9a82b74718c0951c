// The seam between the life of a flow run and what executes it.
import type { FlowRun, JsonObject, State, StateProposal } from "../api/wire.ts";
import type { HookKind } from "../engine/run-hooks.ts";
import type { ProcessExit } from "../process/start-process.ts";
import type { JobConfiguration } from "../run/job-configuration.ts";

/** How infrastructure ended. */
export interface InfrastructureEnd extends ProcessExit {
  /** The engine has said itself how the flow run ended: whatever the exit code, there is nothing to report. */
  isConcluded: boolean;
  /** The state that the engine says it has reported, if it says so. */
  reported: Pick<State, "type" | "name"> | null;
}

/** A flow run's infrastructure, started. Disposing clears away what it leaves behind. */
export interface StartedInfrastructure extends AsyncDisposable {
  /** What the server keeps as `infrastructure_pid`. */
  readonly identifier: string;
  /** Resolves when it has ended by itself or was ended. Never rejects. */
  readonly exited: Promise<InfrastructureEnd>;
  /** The engine runs the hooks of the states that it reports; otherwise they are the worker's to run. */
  readonly engineRunsHooks: boolean;
  /** Ends it gently, then by force; `now` cuts the gentle part short. Returns when nothing of it is left. */
  terminate(now: AbortSignal): Promise<void>;
  /** Like `terminate`, after telling the engine that this is a cancellation; leaves one alone that has just concluded. */
  cancel(now: AbortSignal): Promise<"ended" | "already concluded">;
  /**
   * Runs the flow's hooks in place of an engine that could not; `state` is what they are told, `leave` kills them. Failures
   * are logged, never thrown.
   */
  runHooks(kind: HookKind, flowRun: FlowRun, state: StateProposal, leave: AbortSignal): Promise<void>;
}

/** A kind of infrastructure that lictor can start, under the name of the work pools for it. */
export interface PoolType {
  readonly name: string;
  /** What a work pool gets that is created for it. */
  readonly baseJobTemplate: JsonObject;
  /** Starts a flow run. Throws when it cannot be started. */
  start(job: JobConfiguration, flowRunId: string): Promise<StartedInfrastructure>;
  /**
   * Ends, like `terminate`, what another worker has started for the flow run and left behind. False when it is not to be
   * found from here.
   */
  endAbandoned(flowRunId: string, identifier: string, now: AbortSignal): Promise<boolean>;
}
