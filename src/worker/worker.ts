// One worker: its options, the services it uses, and the state that its loops share.

import type { Api } from "../api/api.ts";
import { Polls } from "../api/polls.ts";
import type { JsonObject, WorkerMetadata, WorkPool } from "../api/wire.ts";
import { monotonicMs } from "../async/clock.ts";
import { Gate } from "../async/gate.ts";
import { Wake } from "../async/wake.ts";
import type { Infrastructure, PoolType } from "../infrastructure/pool-type.ts";
import type { Logger } from "../logger.ts";
import type { RunContext, RunServices, WorkerIdentity } from "../run/run-context.ts";
import { RunHistory } from "../run/run-history.ts";
import type { RunRecord } from "../run/run-record.ts";
import type { WorkerEvents } from "../run/worker-events.ts";
import { ClaimOrder } from "./claim-order.ts";
import { FlowRuns } from "./flow-runs.ts";
import { Outage } from "./outage.ts";
import type { Slots } from "./slots.ts";

/** A busy server may answer a poll late. This is how long sockets and other loops wait for the first one. */
const firstPollMs = 1_000;

/** The options of one worker, from the command line and the settings. */
export interface WorkerOptions {
  readonly name: string;
  readonly workPoolName: string;
  readonly workQueueNames: readonly string[];
  readonly createPoolIfNotFound: boolean;
  /** Used for a pool that is new or has no template; null for the pool type's own. */
  readonly baseJobTemplate: JsonObject | null;
  readonly prefetchSeconds: number;
  readonly querySeconds: number;
  readonly heartbeatSeconds: number;
  /** The status page or the metrics are on. Then the worker also subscribes to events of running and ended flow runs. */
  readonly isObserved: boolean;
  readonly cancellation: CancellationOptions;
}

/** How the worker handles cancelled flow runs that are not in flight, and cancellations that it cannot read. */
export interface CancellationOptions {
  /** Whether cancelled flow runs of the pool are ended whose worker is gone. */
  readonly enabled: boolean;
  /** How often the worker looks for them. */
  readonly pollSeconds: number;
  /** Whether all flow runs in flight are ended when the worker cannot find out which of them are cancelled. */
  readonly crashOnFailure: boolean;
}

/** The services that all workers of one program share. */
export interface WorkerServices extends RunServices {
  readonly slots: Slots;
  /** For how long nothing must be heard of a flow run whose worker is gone, until it counts as lost. 0: it never does. */
  readonly lostAfterMs: number;
  /** Returns the names of the lictor programs that live on this machine. Throws the system's error. */
  livingInstances(): Promise<readonly string[]>;
  /** Returns a logger with a name in Prefect's dotted form. */
  named(name: string): Logger;
  /** Writes a message for the user to standard output. */
  announce(message: string): void;
  /** Returns [0, 1). */
  random(): number;
}

/** What a worker is constructed from. */
export interface WorkerDependencies {
  readonly options: WorkerOptions;
  readonly services: WorkerServices;
  /** Sends requests with this worker's attribution. */
  readonly api: Api;
  readonly identity: WorkerIdentity;
  readonly poolType: PoolType;
  readonly infrastructure: Infrastructure;
  readonly events: WorkerEvents;
}

/** The work pool as the worker knows it. */
export interface PoolState {
  /** As last read from the server. Undefined if it was not read yet or does not exist; then the worker does not poll. */
  current: WorkPool | undefined;
  /** The base job template that is still to be sent to the server. */
  missingTemplate: JsonObject | undefined;
}

/** The state of the poll loop. */
export interface PollState {
  /** Wakes the poll loop. */
  readonly wake: Wake;
  /** A flow run could not be taken because no slot was free. The next free slot causes a poll. */
  isRunLeft: boolean;
  /** When the last poll was answered, on the monotonic clock. */
  answeredAt: number;
  /** When the poll loop last began or ended a poll, failed polls included, on the monotonic clock. */
  turnedAt: number;
  /** Open when the first poll has ended or failed. */
  readonly first: Gate;
  /** Whether the server has answered a poll. */
  hasWorked: boolean;
  /** When the worker last took a flow run, on the monotonic clock. */
  takenAt: number;
  /** Sends the requests. */
  readonly polls: Polls;
  /** How many flow runs were found by a poll without an event, while events arrived. */
  unannouncedCount: number;
}

/** The state of the worker's two sockets: the event subscription and the worker channel. */
export interface SocketState {
  /** Whether the event subscription is open. */
  eventsConnected: boolean;
  /** Woken when `eventsConnected` changes, and when the server should be asked for cancellations at once. */
  readonly eventsChanged: Wake;
  /** The time from the last event's occurrence to its arrival; undefined before the first event. */
  eventLagMs: number | undefined;
  /** How many events arrived, and how many times the subscription was opened. */
  eventCount: number;
  eventConnections: number;
  /** Whether the worker channel is open. It carries heartbeats and the work pool, so REST is not used for them. */
  channelHealthy: boolean;
  /** Woken after each attempt to open the worker channel. */
  readonly channelTried: Wake;
  /** Whether the server has received this worker's integrations. */
  isMetadataSent: boolean;
}

/** One worker and its state. */
export class Worker implements RunContext, WorkerDependencies {
  readonly options: WorkerOptions;
  readonly services: WorkerServices;
  readonly api: Api;
  readonly identity: WorkerIdentity;
  readonly poolType: PoolType;
  readonly defaultTemplate: JsonObject;
  readonly infrastructure: Infrastructure;
  readonly events: WorkerEvents;
  readonly log: Logger;
  readonly history = new RunHistory();
  readonly claimOrder: ClaimOrder;
  readonly runs: FlowRuns;
  readonly pool: PoolState = { current: undefined, missingTemplate: undefined };
  readonly polling: PollState;
  /** The records of dead workers whose claim may still take effect, by flow run id. */
  readonly lateClaims = new Map<string, RunRecord>();
  /** Wakes the sync loop. */
  readonly syncWake = new Wake();
  readonly outage: Outage;
  /** Woken when a worker may be gone: the event subscription was opened, or another worker is not online any more. */
  readonly sweepWake = new Wake();
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

  constructor(dependencies: WorkerDependencies) {
    this.options = dependencies.options;
    this.services = dependencies.services;
    this.api = dependencies.api;
    this.identity = dependencies.identity;
    this.poolType = dependencies.poolType;
    this.infrastructure = dependencies.infrastructure;
    this.events = dependencies.events;
    const { options, services, poolType } = dependencies;
    this.defaultTemplate = options.baseJobTemplate ?? poolType.baseJobTemplate;
    const { name } = options;
    this.log = services
      .named(`prefect.workers.${poolType.name}.${name.toLowerCase()}`)
      .child({ work_pool: options.workPoolName });
    this.polling = {
      wake: new Wake(),
      isRunLeft: false,
      answeredAt: monotonicMs(),
      turnedAt: monotonicMs(),
      first: new Gate(),
      hasWorked: false,
      takenAt: Number.NEGATIVE_INFINITY,
      polls: new Polls(this.api, { ...options, intervalMs: options.querySeconds * 1000, log: this.log }),
      unannouncedCount: 0,
    };
    this.outage = new Outage(options.workPoolName, { polls: this.polling.wake, heartbeats: this.syncWake }, this.log);
    this.claimOrder = new ClaimOrder(name);
    this.runs = new FlowRuns(options.prefetchSeconds * 1000, this.history, this.claimOrder);
  }

  /** Waits for the end of the first poll, at most 1 s, or until `signal` aborts. Whatever a poll does not need waits for it. */
  async firstPoll(signal: AbortSignal): Promise<void> {
    await this.polling.first.passed(firstPollMs, signal);
  }

  /** Returns the worker's integrations if the server has not received them; null if there is nothing to send. */
  async unsentMetadata(): Promise<WorkerMetadata | null> {
    if (this.sockets.isMetadataSent) return null;
    const integrations = await this.infrastructure.integrations();
    return integrations.length === 0 ? null : { integrations };
  }
}
