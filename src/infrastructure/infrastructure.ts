// The seam between the life of a flow run and what executes it.
import type { JsonObject } from "../api/wire.ts";
import type { ProcessExit } from "../process/start-process.ts";
import type { JobConfiguration } from "../run/job-configuration.ts";

/** A flow run's infrastructure, started. */
export interface StartedInfrastructure {
  /** What the server keeps as `infrastructure_pid`. */
  readonly identifier: string;
  /** Resolves when it has ended by itself or was terminated. Never rejects. */
  readonly exited: Promise<ProcessExit>;
  /** Ends it gently, then by force; `now` cuts the gentle part short. Returns when nothing of it is left. */
  terminate(now: AbortSignal): Promise<void>;
}

/** A kind of infrastructure that lictor can start, under the name of the work pools for it. */
export interface PoolType {
  readonly name: string;
  /** What a work pool gets that is created for it. */
  readonly baseJobTemplate: JsonObject;
  /** Starts a flow run. Throws when it cannot be started. */
  start(job: JobConfiguration): Promise<StartedInfrastructure>;
}
