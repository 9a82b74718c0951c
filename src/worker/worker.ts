// What the loops of one worker share.
import type { ApiClient } from "../api/client.ts";
import type { WorkerMetadata, WorkPool } from "../api/wire.ts";
import type { Background } from "../async/background.ts";
import { monotonicMs } from "../async/clock.ts";
import { Wake } from "../async/wake.ts";
import type { PythonFinding } from "../engine/find-python.ts";
import type { PoolType } from "../infrastructure/infrastructure.ts";
import type { Logger } from "../logger.ts";
import { Activity } from "../run/activity.ts";
import type { RunContext } from "../run/run-context.ts";
import type { WorkerEvents } from "../run/worker-events.ts";
import { AnnouncedRuns } from "./announced-runs.ts";
import { ClaimOrder } from "./claim-order.ts";
import { DeclinedRuns } from "./declined-runs.ts";
import { InFlight } from "./in-flight.ts";
import { Slots } from "./slots.ts";

/** What a worker is started with: options of `worker start` and settings, times in the unit of the name. */
export interface WorkerOptions {
  name: string;
  workPoolName: string;
  workQueueNames: readonly string[];
  limit: number | null;
  runOnce: boolean;
  createPoolIfNotFound: boolean;
  /** Instead of the pool type's own, for a new or template-less pool. */
  baseJobTemplate: WorkPool["base_job_template"] | null;
  prefetchSeconds: number;
  querySeconds: number;
  heartbeatSeconds: number;
  healthcheck: { host: string; port: number } | null;
  /** Somebody looks on, so that it is worth hearing how the flow runs get on. */
  isObserved: boolean;
  cancellation: CancellationOptions;
  flowRunHeartbeatSeconds: number | null;
}

/** What is done about cancelled flow runs beyond those in flight, and when they cannot be watched. */
export interface CancellationOptions {
  /** Flow runs of the work pool that were claimed by a worker that is no more are ended too. */
  enabled: boolean;
  /** How often those are looked for. */
  pollSeconds: number;
  /** End all flow runs in flight once nobody can tell which of them are cancelled. */
  crashOnFailure: boolean;
}

/** What a worker works with: all that it hands on to its flow runs, and what makes its own output. */
export interface WorkerDependencies
  extends Omit<
    RunContext,
    | "flowRunLog"
    | "workerName"
    | "workerId"
    | "workerPageUrl"
    | "workPool"
    | "activity"
    | "cancelsPending"
    | "flowRunHeartbeatSeconds"
  > {
  /** Without a slash at the end; null if not known. */
  uiUrl: string | null;
  named: (name: string) => Logger;
  announce: (message: string) => void;
  random: () => number;
}

/** One worker: its options, what it works with, and its state. */
export class Worker implements RunContext {
  readonly api: ApiClient;
  readonly log: Logger;
  readonly flowRunLog: Logger;
  readonly workerName: string;
  readonly poolType: PoolType;
  readonly python: Promise<PythonFinding>;
  readonly workerEnvironment: Readonly<Record<string, string | undefined>>;
  readonly events: WorkerEvents;
  readonly background: Background;
  readonly cancelsPending: boolean;
  readonly flowRunHeartbeatSeconds: number | null;
  readonly leave: AbortSignal;
  readonly slots: Slots;
  readonly activity = new Activity();
  readonly inFlight = new InFlight();
  readonly claimOrder: ClaimOrder;
  readonly announced: AnnouncedRuns;
  readonly declined = new DeclinedRuns();
  /** Wakes the poll loop. */
  readonly wake = new Wake();
  /** Whether the server tells of events now; a change wakes whoever has to do without them. */
  eventsConnected = false;
  readonly eventsChanged = new Wake();
  /** From the last event's occurrence to its arrival here; undefined before the first. */
  eventLagMs: number | undefined;
  /** Events the server has told of, and connections on which it does. */
  readonly eventCounts = { observed: 0, connections: 0 };
  /** The worker channel is open: it carries the heartbeats and brings the work pool, so that REST need not. */
  channelHealthy = false;
  /** The server has been told what this worker has to offer. */
  isMetadataSent = false;
  /** Woken when the worker channel has been opened, or could not be. */
  readonly channelTried = new Wake();
  /** As last read from the server; undefined until then, and the worker does not poll. */
  pool: WorkPool | undefined;
  /** What the server's copy of the work pool has yet to be given as its base job template. */
  missingTemplate: WorkPool["base_job_template"] | undefined;
  /** A flow run was seen and left for want of a slot: the next free one is a reason to poll. */
  leftBehind = false;
  /** When the last poll was answered, on the monotonic clock. */
  lastPollAt = monotonicMs();

  constructor(
    readonly options: WorkerOptions,
    readonly dependencies: WorkerDependencies,
  ) {
    this.api = dependencies.api;
    this.log = dependencies.named(`prefect.workers.${dependencies.poolType.name}.${options.name.toLowerCase()}`);
    this.flowRunLog = dependencies.named("prefect.flow_runs.worker");
    this.workerName = options.name;
    this.poolType = dependencies.poolType;
    this.python = dependencies.python;
    this.workerEnvironment = dependencies.workerEnvironment;
    this.events = dependencies.events;
    this.background = dependencies.background;
    this.cancelsPending = options.cancellation.enabled;
    this.flowRunHeartbeatSeconds = options.flowRunHeartbeatSeconds;
    this.leave = dependencies.leave;
    this.slots = new Slots(options.limit);
    this.claimOrder = new ClaimOrder(options.name);
    this.announced = new AnnouncedRuns(options.prefetchSeconds * 1000, this.claimOrder);
  }

  exportedSettings(): Readonly<Record<string, string>> {
    return this.dependencies.exportedSettings();
  }

  workerId(): string | null {
    return this.api.attribution.workerId;
  }

  workerPageUrl(): string | null {
    const { uiUrl } = this.dependencies;
    const [pool, id] = [this.options.workPoolName, this.workerId()].map((segment) => encodeURIComponent(segment ?? ""));
    return uiUrl && id ? `${uiUrl}/work-pools/work-pool/${pool}/worker/${id}` : null;
  }

  /** What the server has yet to be told about the worker; null if nothing. */
  async unsentMetadata(): Promise<WorkerMetadata | null> {
    const finding = await this.python;
    if (this.isMetadataSent || finding.kind === "missing" || finding.engine.integrations.length === 0) return null;
    return { integrations: [...finding.engine.integrations] };
  }

  workPool(): WorkPool {
    if (!this.pool) throw new Error(`work pool '${this.options.workPoolName}' has not been read yet`);
    return this.pool;
  }
}
