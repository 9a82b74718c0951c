// One lictor process in the simulation: the real host with its worker, on a simulated network and machine.
import { ApiClient } from "../../src/api/client.ts";
import { Credentials } from "../../src/api/credentials.ts";
import { Host } from "../../src/host/host.ts";
import { runHost } from "../../src/host/run-host.ts";
import { createStopControl, type StopControl } from "../../src/host/stop-control.ts";
import { Journal } from "../../src/journal/journal.ts";
import type { Logger, Logging } from "../../src/logger.ts";
import type { PythonFinder } from "../../src/program/find-python.ts";
import { MachineHealth } from "../../src/run/machine-health.ts";
import type { OnLost } from "../../src/run/run-context.ts";
import { StartPacer } from "../../src/run/start-pacer.ts";
import type { EventPublisher } from "../../src/sockets/event-publisher.ts";
import { KeepAlive } from "../../src/sockets/keep-alive.ts";
import { readInitialPool } from "../../src/worker/initial-pool.ts";
import { Slots } from "../../src/worker/slots.ts";
import type { Worker, WorkerOptions } from "../../src/worker/worker.ts";
import type { Random } from "../support/random.ts";
import type { Machine } from "./machine.ts";
import type { Network } from "./network.ts";
import { createOwner, type Owner } from "./virtual-clock.ts";

/** What a lictor process is started with. */
export interface LictorOptions {
  readonly name: string;
  /** The process that replaces this one has the same place, and perhaps another name. */
  readonly place: string;
  /** No other process of the world has this number. */
  readonly number: number;
  readonly poolName: string;
  readonly limit: number | null;
  readonly createsPool: boolean;
  readonly cancelsAbandoned: boolean;
  readonly onLost: OnLost;
  readonly lostAfterSeconds: number;
  readonly random: Random;
  readonly trace: ((line: () => string) => void) | null;
}

/** A lictor process. Dead when `owner` is. */
export class LictorProcess {
  readonly name: string;
  readonly place: string;
  /** Its instance directory. */
  readonly directory: string;
  readonly owner: Owner;
  readonly stop: StopControl = createStopControl();
  readonly slots: Slots;
  worker: Worker | undefined;
  /** Another process has taken its place already. */
  isReplaced = false;
  /** How it ended by itself. Undefined while it runs. */
  ended: { error: unknown } | undefined;

  /** Returns the journals of dead processes on this machine. */
  deadDirectories: () => string[] = () => [];
  /** Returns the names of the living processes on this machine. */
  livingInstances: () => string[] = () => [];
  /** Called when the program exits at once. */
  onLeave: () => void = () => undefined;

  constructor(
    readonly machine: Machine,
    private readonly network: Network,
    private readonly options: LictorOptions,
    /** Called when the process has ended by itself. */
    private readonly onEnd: () => void,
  ) {
    this.name = options.name;
    this.place = options.place;
    this.directory = `instances/${options.name}-${options.number}`;
    this.owner = createOwner(options.name, { wallOffsetMs: machine.wallOffsetMs });
    this.slots = new Slots(options.limit);
  }

  /** Runs the process until it ends. Call it as `owner`. Never throws. */
  async run(): Promise<void> {
    const onLeave = (): void => this.onLeave();
    this.stop.leave.addEventListener("abort", onLeave);
    try {
      await this.#runHost();
      this.ended = { error: undefined };
    } catch (error) {
      this.ended = { error: error === this.stop.drain.reason ? undefined : error };
    }
    this.stop.leave.removeEventListener("abort", onLeave);
    this.onEnd();
  }

  async #runHost(): Promise<void> {
    const { network, machine, owner, stop, options } = this;
    const { name, poolName, createsPool, cancelsAbandoned, onLost, lostAfterSeconds, random, trace } = options;
    const logging = createLogging(trace);
    const credentials = new Credentials({
      authorization: { kind: "none", header: null, token: null, origin: "no setting" },
      fallback: null,
    });
    using api = new ApiClient({
      address: { apiUrl: "http://server/api", isCloud: false },
      credentials,
      customHeaders: {},
      csrfEnabled: false,
      requestTimeoutMs: 60_000,
      maxRetries: 5,
      jitter: 0.2,
      retryExtraCodes: new Set(),
      tls: { ca: undefined, rejectUnauthorized: true },
      proxyFor: () => undefined,
      log: logging.logger,
      random,
      send: (request) => network.send(owner, request),
    });
    const workerOptions: WorkerOptions = {
      name,
      workPoolName: poolName,
      workQueueNames: [],
      createPoolIfNotFound: createsPool,
      baseJobTemplate: null,
      prefetchSeconds: 10,
      querySeconds: 10,
      heartbeatSeconds: 30,
      isObserved: false,
      cancellation: { enabled: cancelsAbandoned, pollSeconds: 10, crashOnFailure: false },
    };
    const poolType = machine.poolType(owner);
    const request = { api, workPoolName: poolName, workerType: poolType.name, ...logging, log: logging.logger };
    const initial = await readInitialPool(request, stop.drain);
    using host = new Host({
      options: {
        runOnce: false,
        cancelsPending: cancelsAbandoned,
        flowRunHeartbeatSeconds: null,
        onLost,
        keepsOrphans: false,
        warmEngines: null,
        lostAfterSeconds,
      },
      api,
      socketAddress: {
        apiUrl: "http://server/api",
        credentials,
        customHeaders: {},
        agents: api.agents,
        keepAlive: new KeepAlive(),
        open: (route, signal) => network.openSocket(owner, route, signal),
      },
      eventPublisher: noEvents,
      logShipper: null,
      logging,
      slots: this.slots,
      stop,
      integrations: {},
      environment: {},
      uiUrl: null,
      python: noPython,
      machine: new MachineHealth(logging.logger),
      pacer: new StartPacer(4, () => Number.POSITIVE_INFINITY),
      livingInstances: async () => this.livingInstances(),
      journal: new Journal({
        directory: `${this.directory}/runs`,
        unreadableDirectory: "unreadable",
        files: machine.disk.openAs(owner),
        deadDirectories: async () => this.deadDirectories(),
        log: logging.logger,
      }),
      instance: { instance: this.directory, host: machine.hostName },
      random,
      onStarted: () => undefined,
      exportedSettings: () => ({}),
    });
    this.worker = await host.addWorker(workerOptions, poolType);
    await runHost(host, new Map([[this.worker, initial]]));
  }
}

/** The events that workers send are not part of the simulation. */
const noEvents = {
  emit: () => undefined,
  run: async () => undefined,
  flush: async () => undefined,
} as unknown as EventPublisher;

/** The machine of the simulation needs no Python. */
const noPython = {} as PythonFinder;

/** Returns logging that writes to the trace, or nowhere. */
function createLogging(trace: LictorOptions["trace"]): Logging {
  const log = createLogger(trace);
  return {
    logger: log,
    named: () => log,
    announce: (message) => trace?.(() => message),
    writeChildLine: () => undefined,
    inheritsOutput: true,
    onRecord: undefined,
    redact: (text) => text,
    hide: () => undefined,
  };
}

function createLogger(trace: LictorOptions["trace"]): Logger {
  const write = (...parts: unknown[]): void => trace?.(() => parts.map(describe).join(" "));
  const log = { debug: write, info: write, warn: write, error: write, child: () => log };
  return log as unknown as Logger;
}

function describe(part: unknown): string {
  if (typeof part === "string") return part;
  const { err, ...rest } = part as { err?: unknown };
  const fields = Object.keys(rest).length > 0 ? JSON.stringify(rest) : "";
  return err instanceof Error ? `${fields} ${err.name}: ${err.message}` : fields;
}
