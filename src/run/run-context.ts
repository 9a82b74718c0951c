// What the life of a flow run needs of the worker around it.
import type { Api } from "../api/api.ts";
import type { Background } from "../async/background.ts";
import type { Infrastructure } from "../infrastructure/pool-type.ts";
import type { RunHistory } from "./run-history.ts";
import type { WorkerEvents } from "./worker-events.ts";

/** Which worker it is, as flow runs and their programs are told. */
export interface WorkerIdentity {
  readonly name: string;
  /** The name of its pool type. */
  readonly type: string;
  /** Null until the server has told it. Only Prefect Cloud does, in answer to the first heartbeat. */
  id(): string | null;
  /** Its page in the UI, where workers have ids. */
  pageUrl(): string | null;
}

/** The three steps of the end of a program. Each aborts once; the reason's message completes "Worker 'w' …". */
export interface StopSignals {
  /** Take no new flow runs, wait for those that run. */
  readonly drain: AbortSignal;
  /** End what runs. */
  readonly kill: AbortSignal;
  /** Wait for nothing any more. */
  readonly leave: AbortSignal;
}

/** What all workers of one program share, as far as flow runs need it. */
export interface RunServices {
  readonly stop: StopSignals;
  /** Work on a flow run that its life does not wait for. */
  readonly background: Background;
  /** A flow run has freed its slot: another one may have waited for it. */
  slotFreed(): void;
  /** The environment that lictor itself was started with. */
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** The settings that the program of a flow run is given, with the credentials in use now. */
  exportedSettings(): Readonly<Record<string, string>>;
  /** PREFECT_WORKER_ENABLE_CANCELLATION: states of flow runs that are cancelled before they start say so. */
  readonly cancelsPending: boolean;
  /** How often the worker sends that a flow run lives whose engine does not; null for never. */
  readonly flowRunHeartbeatSeconds: number | null;
}

/** One worker, as a flow run sees it. */
export interface RunContext {
  readonly services: RunServices;
  readonly api: Api;
  readonly identity: WorkerIdentity;
  readonly infrastructure: Infrastructure;
  readonly events: WorkerEvents;
  /** Is told of claims, states and ends. */
  readonly history: RunHistory;
}
