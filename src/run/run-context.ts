// What the execution of a flow run uses of its worker and program.
import type { Api } from "../api/api.ts";
import type { LogShipper } from "../api/log-shipper.ts";
import type { JsonObject } from "../api/wire.ts";
import type { Background } from "../async/background.ts";
import type { Infrastructure, PoolType } from "../infrastructure/pool-type.ts";
import type { Journal } from "../journal/journal.ts";
import type { MachineHealth } from "./machine-health.ts";
import type { ProposalBound } from "./proposal-bound.ts";
import type { RunHistory } from "./run-history.ts";
import type { SharedReads } from "./shared-reads.ts";
import type { StartPacer } from "./start-pacer.ts";
import type { WorkerEvents } from "./worker-events.ts";

/** The worker's name, type and id, as sent to the server and to programs. */
export interface WorkerIdentity {
  readonly name: string;
  /** The name of its pool type. */
  readonly type: string;
  /** Returns the worker's id; null if it is not known. Only Prefect Cloud sends it, in response to the first heartbeat. */
  id(): string | null;
  /** Returns the URL of the worker's page in the UI; null if the worker has no id. */
  pageUrl(): string | null;
}

/** The three steps that end a program. Each aborts once. The reason's message completes "Worker 'w' …". */
export interface StopSignals {
  /** Take no new flow runs, and wait for those in flight. */
  readonly drain: AbortSignal;
  /** Stop all flow runs in flight. */
  readonly kill: AbortSignal;
  /** Exit at once. */
  readonly leave: AbortSignal;
}

/** The services that all workers of one program share, as far as flow runs need them. */
export interface RunServices {
  readonly stop: StopSignals;
  /** Runs work that the flow run does not wait for. */
  readonly background: Background;
  /** Returns the text without secrets. The texts of others, such as those of a container engine, may repeat one. */
  redact(text: string): string;
  /** Sends log records to the API. Null if log records are not sent there. */
  readonly logs: Pick<LogShipper, "ship" | "settled"> | null;
  /** Called when a flow run has freed its slot, because another flow run may wait for one. */
  slotFreed(): void;
  /** The environment that lictor was started with. */
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** Returns the settings for the program of a flow run as variables, with the credentials in use now. */
  exportedSettings(): Readonly<Record<string, string>>;
  /** PREFECT_WORKER_ENABLE_CANCELLATION. It changes the state message of a flow run that is cancelled before it starts. */
  readonly cancelsPending: boolean;
  /** The interval of heartbeat events for engines that send none; null for never. */
  readonly flowRunHeartbeatSeconds: number | null;
  /** Keeps the records of flow runs in flight for the next worker. */
  readonly journal: Journal;
  /** Whether programs can be started on this machine. */
  readonly machine: MachineHealth;
  /** The places for programs that start up. All workers of the program share them. */
  readonly pacer: StartPacer;
  /** Bounds how many claims and submissions are proposed at once. */
  readonly proposals: ProposalBound;
  /** The reads that flow runs share. */
  readonly reads: SharedReads;
  /** This program, as the labels of its flow runs name it. */
  readonly instance: InstanceLabels;
  /** What becomes of a flow run that began and whose program is gone. */
  readonly onLost: OnLost;
  /** Returns when a request last failed because the server could not be reached, on the monotonic clock; undefined before the first time. */
  lastOutageAt(): number | undefined;
}

/** `crash`: it is Crashed. `reschedule`: it is Scheduled, and runs again from its beginning. */
export type OnLost = "crash" | "reschedule";

/** Names a program and its host. `instance` is null without an instance directory. */
export interface InstanceLabels {
  readonly instance: string | null;
  readonly host: string;
}

/** The worker, as far as the execution of a flow run uses it. */
export interface RunContext {
  readonly services: RunServices;
  readonly api: Api;
  readonly identity: WorkerIdentity;
  readonly poolType: PoolType;
  /** The base job template for a work pool without one: the user's, else the pool type's. */
  readonly defaultTemplate: JsonObject;
  readonly infrastructure: Infrastructure;
  readonly events: WorkerEvents;
  /** Records claims, states and ends. */
  readonly history: RunHistory;
}
