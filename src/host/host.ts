// The host: the services that the workers of all work pools share, and the workers.
import type { Api } from "../api/api.ts";
import type { ApiClient } from "../api/client.ts";
import type { LogShipper } from "../api/log-shipper.ts";
import { Background } from "../async/background.ts";
import type {
  Infrastructure,
  InfrastructureServices,
  PoolType,
  WarmEngineOptions,
} from "../infrastructure/pool-type.ts";
import { slugify } from "../job/slug.ts";
import type { Journal } from "../journal/journal.ts";
import type { Logging } from "../logger.ts";
import type { PythonFinder } from "../program/find-python.ts";
import type { MachineHealth } from "../run/machine-health.ts";
import { ProposalBound } from "../run/proposal-bound.ts";
import type { InstanceLabels, OnLost } from "../run/run-context.ts";
import { SharedReads } from "../run/shared-reads.ts";
import type { StartPacer } from "../run/start-pacer.ts";
import { WorkerEvents } from "../run/worker-events.ts";
import type { SocketAddress } from "../sockets/connect.ts";
import type { EventPublisher } from "../sockets/event-publisher.ts";
import { onSlotFree } from "../worker/poll-loop.ts";
import type { Slots } from "../worker/slots.ts";
import { Worker, type WorkerOptions, type WorkerServices } from "../worker/worker.ts";
import type { StopControl } from "./stop-control.ts";

/** The options of the program that are not options of one worker. */
export interface HostOptions {
  readonly runOnce: boolean;
  readonly cancelsPending: boolean;
  readonly flowRunHeartbeatSeconds: number | null;
  readonly onLost: OnLost;
  readonly keepsOrphans: boolean;
  /** Null if each flow run gets a new Python. */
  readonly warmEngines: WarmEngineOptions | null;
  readonly lostAfterSeconds: number;
}

/** The services that all workers of the program share. */
export interface HostServices {
  readonly options: HostOptions;
  readonly api: ApiClient;
  readonly socketAddress: SocketAddress;
  readonly eventPublisher: EventPublisher;
  /** Null if log records are not sent to the API. */
  readonly logShipper: LogShipper | null;
  readonly logging: Logging;
  readonly slots: Slots;
  readonly stop: StopControl;
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** The settings of Prefect's integrations, as variables. */
  readonly integrations: Readonly<Record<string, string>>;
  /** The URL of the Prefect UI, without a slash at the end. Null if not known. */
  readonly uiUrl: string | null;
  readonly python: PythonFinder;
  readonly journal: Journal;
  readonly machine: MachineHealth;
  readonly pacer: StartPacer;
  readonly instance: InstanceLabels;
  /** Returns [0, 1). */
  readonly random: () => number;
  /** Called once, when all workers have started. */
  onStarted(): void;
  livingInstances(): Promise<readonly string[]>;
  exportedSettings(): Readonly<Record<string, string>>;
}

/** The program with its workers. Disposing closes the infrastructure of its pool types. */
export class Host implements Disposable {
  readonly workers: Worker[] = [];
  readonly background = new Background();
  readonly #infrastructures = new Map<string, Infrastructure>();
  readonly #workerServices: WorkerServices;

  constructor(readonly services: HostServices) {
    const {
      options,
      logging,
      slots,
      stop,
      environment,
      exportedSettings,
      journal,
      machine,
      pacer,
      instance,
      api,
      random,
    } = services;
    const { logShipper } = services;
    this.#workerServices = {
      logs: logShipper,
      stop,
      slots,
      environment,
      exportedSettings,
      background: this.background,
      cancelsPending: options.cancelsPending,
      flowRunHeartbeatSeconds: options.flowRunHeartbeatSeconds,
      onLost: options.onLost,
      lostAfterMs: options.lostAfterSeconds * 1000,
      livingInstances: services.livingInstances,
      journal,
      machine,
      pacer,
      proposals: new ProposalBound(),
      reads: new SharedReads(),
      instance,
      lastOutageAt: () => api.lastOutageAt,
      slotFreed: () => {
        for (const worker of this.workers) onSlotFree(worker);
      },
      named: logging.named,
      announce: logging.announce,
      redact: logging.redact,
      random,
    };
  }

  /** Adds a worker for one work pool and returns it. Opens the infrastructure of its pool type if it is not open. */
  async addWorker(options: WorkerOptions, poolType: PoolType): Promise<Worker> {
    const { eventPublisher } = this.services;
    const { name } = options;
    const api = this.services.api.as({ workerName: name, workerId: null });
    const { name: type } = poolType;
    const worker = new Worker({
      options,
      poolType,
      api,
      services: this.#workerServices,
      identity: {
        name,
        type,
        id: () => api.attribution.workerId,
        pageUrl: () => this.#workerPageUrl(options, api),
      },
      infrastructure: await this.#open(poolType),
      events: new WorkerEvents({ name, slug: await slugify(name), type }, (event) => eventPublisher.emit(event)),
    });
    this.workers.push(worker);
    return worker;
  }

  /** Waits for the first poll of any worker, as `Worker.firstPoll` does. */
  async firstPoll(signal: AbortSignal): Promise<void> {
    await Promise.race(this.workers.map((worker) => worker.firstPoll(signal)));
  }

  [Symbol.dispose](): void {
    for (const infrastructure of this.#infrastructures.values()) infrastructure[Symbol.dispose]();
  }

  async #open(poolType: PoolType): Promise<Infrastructure> {
    const { environment, integrations, exportedSettings, python, logging, options } = this.services;
    const log = logging.named("prefect.flow_runs.worker");
    const infrastructureServices: InfrastructureServices = {
      environment: { ...environment, ...integrations },
      processEnvironment: () => ({ ...environment, ...exportedSettings() }),
      python: () => python.current(),
      onOutput: logging.inheritsOutput ? null : logging.writeChildLine,
      printLine: logging.writeChildLine,
      hide: logging.hide,
      keepsOrphans: options.keepsOrphans,
      warmEngines: options.warmEngines,
      log,
    };
    const opened = this.#infrastructures.get(poolType.name) ?? (await poolType.open(infrastructureServices));
    this.#infrastructures.set(poolType.name, opened);
    return opened;
  }

  #workerPageUrl({ workPoolName }: WorkerOptions, api: Api): string | null {
    const id = api.attribution.workerId;
    if (!this.services.uiUrl || !id) return null;
    return `${this.services.uiUrl}/work-pools/work-pool/${encodeURIComponent(workPoolName)}/worker/${encodeURIComponent(id)}`;
  }
}
