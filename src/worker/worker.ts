// What the loops of one worker share.
import type { Api } from "../api/api.ts";
import { Polls } from "../api/polls.ts";
import type { JsonObject, WorkerMetadata, WorkPool } from "../api/wire.ts";
import { monotonicMs } from "../async/clock.ts";
import { Wake } from "../async/wake.ts";
import type { Infrastructure, PoolType } from "../infrastructure/pool-type.ts";
import type { Logger } from "../logger.ts";
import type { RunContext, RunServices, WorkerIdentity } from "../run/run-context.ts";
import { RunHistory } from "../run/run-history.ts";
import type { WorkerEvents } from "../run/worker-events.ts";
import { ClaimOrder } from "./claim-order.ts";
import { FlowRuns } from "./flow-runs.ts";
import type { Slots } from "./slots.ts";

/** What one worker is started with: options of `worker start` and settings, times in the unit of the name. */
export interface WorkerOptions {
  readonly name: string;
  readonly workPoolName: string;
  readonly workQueueNames: readonly string[];
  readonly createPoolIfNotFound: boolean;
  /** Instead of the pool type's own, for a pool that is new or has no template. */
  readonly baseJobTemplate: JsonObject | null;
  readonly prefetchSeconds: number;
  readonly querySeconds: number;
  readonly heartbeatSeconds: number;
  /** Somebody looks on, so that events about running and ended flow runs are worth hearing. */
  readonly isObserved: boolean;
  readonly cancellation: CancellationOptions;
}

/** What is done about cancelled flow runs beyond those in flight, and when they cannot be watched. */
export interface CancellationOptions {
  /** Flow runs of the work pool whose worker is gone are ended too. */
  readonly enabled: boolean;
  /** How often those are looked for. */
  readonly pollSeconds: number;
  /** End all flow runs in flight once nobody can tell which of them are cancelled. */
  readonly crashOnFailure: boolean;
}

/** What all workers of one program share. */
export interface WorkerServices extends RunServices {
  readonly slots: Slots;
  /** A logger with a name in Prefect's dotted form. */
  named(name: string): Logger;
  /** Writes a message for the user to standard output. */
  announce(message: string): void;
  /** Returns [0, 1). */
  random(): number;
}

/** What one worker is made of. */
export interface WorkerParts {
  readonly options: WorkerOptions;
  readonly services: WorkerServices;
  /** Speaks for this worker. */
  readonly api: Api;
  readonly identity: WorkerIdentity;
  readonly poolType: PoolType;
  readonly infrastructure: Infrastructure;
  readonly events: WorkerEvents;
}

/** What is known of the work pool. */
export interface PoolState {
  /** As last read from the server; undefined until then, and nothing is polled. */
  current: WorkPool | undefined;
  /** The base job template that the server's copy has yet to be given. */
  missingTemplate: JsonObject | undefined;
}

/** How the poll loop is doing. */
export interface PollState {
  /** Wakes the poll loop. */
  readonly wake: Wake;
  /** A flow run was seen and left because no slot was free: the next free slot is a reason to poll. */
  isRunLeft: boolean;
  /** When the last poll was answered, on the monotonic clock. */
  answeredAt: number;
  /** When the worker last took a flow run, on the monotonic clock. */
  takenAt: number;
  /** The requests. */
  readonly polls: Polls;
  /** How many flow runs polls have found without an event. */
  unannouncedCount: number;
}

/** The two sockets on which the server tells a worker what happens. */
export interface SocketState {
  /** Whether the server tells of events now. */
  eventsConnected: boolean;
  /** A change of `eventsConnected` wakes whoever has to do without events. */
  readonly eventsChanged: Wake;
  /** From the last event's occurrence to its arrival; undefined before the first. */
  eventLagMs: number | undefined;
  /** Events that were told, and connections on which they were. */
  eventCount: number;
  eventConnections: number;
  /** The worker channel is open: it carries heartbeats and the work pool, so that REST need not. */
  channelHealthy: boolean;
  /** Woken when the worker channel has been opened, or could not be. */
  readonly channelTried: Wake;
  /** The server has been told what this worker has to offer. */
  isMetadataSent: boolean;
}

/** One worker: what it is made of, and its state. */
export class Worker implements RunContext, WorkerParts {
  readonly options: WorkerOptions;
  readonly services: WorkerServices;
  readonly api: Api;
  readonly identity: WorkerIdentity;
  readonly poolType: PoolType;
  readonly infrastructure: Infrastructure;
  readonly events: WorkerEvents;
  readonly log: Logger;
  readonly history = new RunHistory();
  readonly claimOrder: ClaimOrder;
  readonly runs: FlowRuns;
  readonly pool: PoolState = { current: undefined, missingTemplate: undefined };
  readonly polling: PollState;
  readonly sockets: SocketState = {
    eventsConnected: false,
    eventsChanged: new Wake(),
    eventLagMs: undefined,
    eventCount: 0,
    eventConnections: 0,
    channelHealthy: false,
    channelTried: new Wake(),
    isMetadataSent: false,
  };

  constructor(parts: WorkerParts) {
    this.options = parts.options;
    this.services = parts.services;
    this.api = parts.api;
    this.identity = parts.identity;
    this.poolType = parts.poolType;
    this.infrastructure = parts.infrastructure;
    this.events = parts.events;
    const { name } = parts.options;
    this.log = parts.services.named(`prefect.workers.${parts.poolType.name}.${name.toLowerCase()}`);
    const { options } = parts;
    this.polling = {
      wake: new Wake(),
      isRunLeft: false,
      answeredAt: monotonicMs(),
      takenAt: Number.NEGATIVE_INFINITY,
      polls: new Polls(this.api, { ...options, intervalMs: options.querySeconds * 1000, log: this.log }),
      unannouncedCount: 0,
    };
    this.claimOrder = new ClaimOrder(name);
    this.runs = new FlowRuns(options.prefetchSeconds * 1000, this.history, this.claimOrder);
  }

  /** What the server has yet to be told about the worker; null if nothing. */
  async unsentMetadata(): Promise<WorkerMetadata | null> {
    if (this.sockets.isMetadataSent) return null;
    const integrations = await this.infrastructure.integrations();
    return integrations.length === 0 ? null : { integrations };
  }
}
