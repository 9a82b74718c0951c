// One program: what the workers of all its pools share, and the workers.
import type { Api } from "../api/api.ts";
import type { ApiClient } from "../api/client.ts";
import type { LogShipper } from "../api/log-shipper.ts";
import { Background } from "../async/background.ts";
import type { Infrastructure, InfrastructureServices, PoolType } from "../infrastructure/pool-type.ts";
import type { Logging } from "../logger.ts";
import type { PythonFinder } from "../program/find-python.ts";
import { slugify } from "../run/slug.ts";
import { WorkerEvents } from "../run/worker-events.ts";
import type { SocketAddress } from "../sockets/connect.ts";
import type { EventPublisher } from "../sockets/event-publisher.ts";
import { onSlotFree } from "../worker/poll-loop.ts";
import type { Slots } from "../worker/slots.ts";
import { Worker, type WorkerOptions, type WorkerServices } from "../worker/worker.ts";
import type { StopControl } from "./stop-control.ts";

/** What a program is started with, beside the options of its workers. */
export interface HostOptions {
  readonly runOnce: boolean;
  readonly cancelsPending: boolean;
  readonly flowRunHeartbeatSeconds: number | null;
}

/** What a program works with. */
export interface HostParts {
  readonly options: HostOptions;
  readonly api: ApiClient;
  readonly socketAddress: SocketAddress;
  readonly eventPublisher: EventPublisher;
  /** Null where log records do not go to the API. */
  readonly logShipper: LogShipper | null;
  readonly logging: Logging;
  readonly slots: Slots;
  readonly stop: StopControl;
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** Without a slash at the end; null if not known. */
  readonly uiUrl: string | null;
  readonly python: PythonFinder;
  exportedSettings(): Readonly<Record<string, string>>;
}

/** The program. Disposing closes what its pool types have opened. */
export class Host implements Disposable {
  readonly workers: Worker[] = [];
  readonly background = new Background();
  readonly #infrastructures = new Map<string, Infrastructure>();
  readonly #services: WorkerServices;

  constructor(readonly parts: HostParts) {
    const { options, logging, slots, stop, environment, exportedSettings } = parts;
    this.#services = {
      stop,
      slots,
      environment,
      exportedSettings,
      background: this.background,
      cancelsPending: options.cancelsPending,
      flowRunHeartbeatSeconds: options.flowRunHeartbeatSeconds,
      slotFreed: () => {
        for (const worker of this.workers) onSlotFree(worker);
      },
      named: logging.named,
      announce: logging.announce,
      random: Math.random,
    };
  }

  /** Adds the worker of one pool. Opens its pool type, unless another worker has done so. */
  async addWorker(options: WorkerOptions, poolType: PoolType): Promise<Worker> {
    const { eventPublisher } = this.parts;
    const { name } = options;
    const api = this.parts.api.as({ workerName: name, workerId: null });
    const { name: type } = poolType;
    const worker = new Worker({
      options,
      poolType,
      api,
      services: this.#services,
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

  [Symbol.dispose](): void {
    for (const infrastructure of this.#infrastructures.values()) infrastructure[Symbol.dispose]();
  }

  async #open(poolType: PoolType): Promise<Infrastructure> {
    const { environment, exportedSettings, python, logging } = this.parts;
    const log = logging.named("prefect.flow_runs.worker");
    const services: InfrastructureServices = {
      environment,
      processEnvironment: () => ({ ...environment, ...exportedSettings() }),
      python: () => python.current(),
      onOutput: logging.writeChildLine,
      log,
    };
    const opened = this.#infrastructures.get(poolType.name) ?? (await poolType.open(services));
    this.#infrastructures.set(poolType.name, opened);
    return opened;
  }

  #workerPageUrl({ workPoolName }: WorkerOptions, api: Api): string | null {
    const id = api.attribution.workerId;
    if (!this.parts.uiUrl || !id) return null;
    return `${this.parts.uiUrl}/work-pools/work-pool/${encodeURIComponent(workPoolName)}/worker/${encodeURIComponent(id)}`;
  }
}
