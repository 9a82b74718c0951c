// What the life of a flow run needs of the worker around it.
import type { ApiClient } from "../api/client.ts";
import type { WorkPool } from "../api/wire.ts";
import type { Background } from "../async/background.ts";
import type { PythonFinding } from "../engine/find-python.ts";
import type { PoolType } from "../infrastructure/infrastructure.ts";
import type { Logger } from "../logger.ts";
import type { Activity } from "./activity.ts";
import type { WorkerEvents } from "./worker-events.ts";

/** One worker, as a flow run sees it. */
export interface RunContext {
  readonly api: ApiClient;
  /** The logger of everything about flow runs; each makes its own child of it. */
  readonly flowRunLog: Logger;
  readonly workerName: string;
  readonly poolType: PoolType;
  /** As known now; it may be found later. */
  readonly python: Promise<PythonFinding>;
  readonly workerEnvironment: Readonly<Record<string, string | undefined>>;
  readonly events: WorkerEvents;
  /** Is told of claims, states and ends. */
  readonly activity: Activity;
  /** The setting PREFECT_WORKER_ENABLE_CANCELLATION: what is cancelled before it has started is told apart. */
  readonly cancelsPending: boolean;
  /** How often a flow run gives a sign of life whose engine does not; null for never. */
  readonly flowRunHeartbeatSeconds: number | null;
  /** Work on a flow run that its life does not wait for. */
  readonly background: Background;
  /** Aborts when there is no more time to end anything gently. */
  readonly leave: AbortSignal;
  /** The settings that a flow run's process is given, with the credentials in use now. */
  exportedSettings(): Readonly<Record<string, string>>;
  /** Only known on Cloud, and only after the first heartbeat. */
  workerId(): string | null;
  /** The worker's page in the UI, where workers have ids. */
  workerPageUrl(): string | null;
  /** The work pool as last read. */
  workPool(): WorkPool;
}
