// `lictor worker start`: assembles the host from options and settings, runs its workers, and closes it.
import { availableParallelism } from "node:os";
import type { ApiClient } from "../api/client.ts";
import { LogShipper, safeBatchBytes } from "../api/log-shipper.ts";
import { bothClocks, monotonicMs } from "../async/clock.ts";
import { type OpenInstance, tryOpenInstance } from "../host/control-socket.ts";
import { Host, type HostOptions } from "../host/host.ts";
import { findStateDirectory, listLivingInstances } from "../host/instances.ts";
import { instanceLabels, openJournal } from "../host/open-journal.ts";
import { runHost } from "../host/run-host.ts";
import { serveHealth, serveMetrics } from "../host/serve-status.ts";
import { createStopControl, limitDrain, type StopControl, StopRequested } from "../host/stop-control.ts";
import type { SystemdNotifier } from "../host/systemd-notifier.ts";
import { withoutSystemdVariables } from "../host/systemd-variables.ts";
import { watchStalls } from "../host/watch-stalls.ts";
import type { Journal } from "../journal/journal.ts";
import { findPython, PythonFinder, type PythonFinding } from "../program/find-python.ts";
import { MachineHealth } from "../run/machine-health.ts";
import { StartPacer } from "../run/start-pacer.ts";
import { uiUrlFor } from "../settings/derived.ts";
import { EventPublisher } from "../sockets/event-publisher.ts";
import { explainUnauthorized } from "../sockets/refused-credentials.ts";
import { readStatus, type StatusSources } from "../status/read-status.ts";
import { type InitialPool, readInitialPool } from "../worker/initial-pool.ts";
import { Slots } from "../worker/slots.ts";
import type { Worker, WorkerOptions } from "../worker/worker.ts";
import { type OpenApi, openApi, toSocketAddress } from "./open-api.ts";
import { openSystemd } from "./open-systemd.ts";
import type { ProgramContext } from "./program-context.ts";
import { watchSignals } from "./signals.ts";
import {
  defaultName,
  explicitPython,
  supportedPoolType,
  toHostOptions,
  toWorkerOptions,
  type WorkerStartOptions,
} from "./worker-options.ts";

/**
 * Runs the workers of all work pools until they have stopped. Throws SettingsError, WorkerStartError, and the error
 * that ends a worker.
 */
export async function startWorkers(options: WorkerStartOptions, given: ProgramContext): Promise<void> {
  const program: ProgramContext = { ...given, env: withoutSystemdVariables(given.env) };
  const { logging, settings } = program;
  const { logger } = logging;
  const hostOptions = toHostOptions(options, program);
  const stop = createStopControl();
  using _signals = watchSignals(stop, (message) => logger.warn(message));
  if (options.drainTimeout !== undefined) limitDrain(stop, options.drainTimeout);
  given.onUncaught = (error) => {
    // Drains instead of exiting, because an exit would orphan all engines.
    logger.error({ err: error }, "An error that nobody caught; please report it. Taking no new flow runs");
    process.exitCode = 1;
    stop.request("drain", new StopRequested("met an error that nobody caught", 1));
  };
  const sources: Sources = {
    startedAt: monotonicMs(),
    pid: process.pid,
    profileName: settings.profile.name,
    stop,
    slots: new Slots(options.limit ?? null),
    machine: new MachineHealth(logger),
    options: toWorkerOptions(options, program),
    workers: [],
  };
  const { PREFECT_WORKER_WEBSERVER_HOST: host, PREFECT_WORKER_WEBSERVER_PORT: port } = settings.values;
  using _health = options.withHealthcheck ? await serveHealth({ host, port }, sources, logging) : null;
  const stateDir = findStateDirectory(program.env, settings.values.PREFECT_HOME);
  await using instance = await tryOpenInstance({
    stateDir,
    stop,
    status: () => readStatus(sources, bothClocks()),
    log: logger,
  });
  using _stalls = watchStalls(logger);
  await using systemd = await openSystemd(given, sources);
  // The search begins after the first poll, or with the first claim, which waits for its result.
  const search = new AbortController();
  const explicit = explicitPython(options, program.env);
  const python = new PythonFinder(() => findPython({ explicit, env: program.env, signal: search.signal }));
  try {
    using open = await openApi(program, options.workspace, stop.drain);
    const journal = openJournal(stateDir, instance, search.signal, logger);
    sources.journal = journal;
    const assembly: Assembly = {
      options,
      hostOptions,
      program,
      stateDir,
      open,
      stop,
      python,
      instance,
      journal,
      search: search.signal,
      sources,
      systemd,
    };
    await runAssembled(assembly).catch(async (error: unknown) => {
      throw await explainUnauthorized(error, toSocketAddress(open, program), stop.drain);
    });
  } catch (error) {
    // An interruption by a stop is no failure.
    if (error !== stop.drain.reason) throw error;
  } finally {
    search.abort();
  }
}

type Sources = StatusSources & {
  options: readonly WorkerOptions[];
  workers: Worker[];
  readonly machine: MachineHealth;
};

interface Assembly {
  readonly options: WorkerStartOptions;
  readonly hostOptions: HostOptions;
  readonly program: ProgramContext;
  readonly open: OpenApi;
  readonly stop: StopControl;
  readonly python: PythonFinder;
  readonly stateDir: string | null;
  readonly instance: OpenInstance | null;
  readonly journal: Journal;
  /** Aborts when the program ends, which ends the search for a Python. */
  readonly search: AbortSignal;
  /** Gets the workers when they exist. */
  readonly sources: Sources;
  readonly systemd: SystemdNotifier | null;
}

async function runAssembled(assembly: Assembly): Promise<void> {
  const { options, program, open, stop, python, stateDir, instance, journal, sources } = assembly;
  const { api, connection, credentials } = open;
  const { logging, settings } = program;
  sources.api = { url: connection.apiUrl, credentials, maintenanceAt: () => api.maintenanceAt };
  api.attribution.workerName = sources.options[0]?.name ?? null;
  const initialPools = await readInitialPools(options, sources.options, api, program, stop.drain);
  sources.options = initialPools.map(([worker]) => worker);
  const socketAddress = toSocketAddress(open, program);
  const log = logging.named("prefect.events");
  const eventPublisher = new EventPublisher({
    address: socketAddress,
    isCloud: connection.isCloud,
    api,
    limits: settings.values,
    log,
    random: Math.random,
  });
  using host = new Host({
    options: assembly.hostOptions,
    api,
    socketAddress,
    eventPublisher,
    logShipper: settings.values.PREFECT_LOGGING_TO_API_ENABLED ? openLogShipper(open, program) : null,
    logging,
    slots: sources.slots,
    stop,
    environment: program.env,
    integrations: settings.integrations,
    uiUrl: uiUrlFor(settings, connection.apiUrl),
    python,
    journal,
    machine: sources.machine,
    // An engine that starts up waits for the server during half of that time.
    pacer: new StartPacer(2 * availableParallelism(), () => process.availableMemory()),
    instance: instanceLabels(instance),
    random: Math.random,
    onStarted: () => assembly.systemd?.ready(),
    livingInstances: async () => (stateDir === null ? [] : await listLivingInstances(stateDir, assembly.search)),
    exportedSettings: open.exportedSettings,
  });
  const pools = new Map<Worker, InitialPool>();
  for (const [workerOptions, initial] of initialPools) {
    pools.set(await host.addWorker(workerOptions, supportedPoolType(initial.workerType)), initial);
  }
  void host.firstPoll(assembly.search).then(() => {
    const needsPython = host.workers.some(({ poolType }) => poolType.isLocal);
    if (needsPython && !assembly.search.aborted)
      python.onFinding((finding) => logPython(finding, program, assembly.search));
  });
  sources.workers.push(...host.workers);
  sources.eventPublisher = eventPublisher;
  const { PREFECT_CLIENT_METRICS_ENABLED: hasMetrics, PREFECT_CLIENT_METRICS_PORT: port } = settings.values;
  const { isCloud } = connection;
  const metrics = {
    isCloud,
    attemptCounts: api.attemptCounts,
    workers: host.workers,
    eventPublisher,
    machine: sources.machine,
    log: logging.logger,
  };
  using _metrics = hasMetrics ? await serveMetrics(port, metrics) : null;
  await runHost(host, pools);
}

/**
 * Reads all work pools one after the other, so that the messages about them are in the order of the options. A worker
 * without a name gets one that names its type.
 */
async function readInitialPools(
  options: WorkerStartOptions,
  workers: readonly WorkerOptions[],
  api: ApiClient,
  { logging }: ProgramContext,
  signal: AbortSignal,
): Promise<[WorkerOptions, InitialPool][]> {
  const { announce, logger: log } = logging;
  const pools: [WorkerOptions, InitialPool][] = [];
  for (const worker of workers) {
    const { workPoolName } = worker;
    const request = { api, workPoolName, workerType: options.type ?? null, announce, log };
    const initial = await readInitialPool(request, signal);
    const isNamed = options.name !== undefined || options.type !== undefined || initial.workerType === "process";
    pools.push([isNamed ? worker : { ...worker, name: defaultName(initial.workerType) }, initial]);
  }
  return pools;
}

/** Logs whether there is a Python, and the consequence if there is none. Logs nothing after `search` has aborted. */
function logPython(finding: PythonFinding, { logging }: ProgramContext, search: AbortSignal): void {
  if (search.aborted) return;
  const log = logging.logger;
  if (finding.kind === "found") log.debug({ ...finding.engine }, "Python found");
  else log.error(`${finding.message} Until then only flow runs with a command of their own are taken.`);
}

/** The size of the queue of log records during an outage. That is four times the default batch size of the setting. */
const maxQueuedLogBytes = 16_000_000;

function openLogShipper({ api, connection }: OpenApi, { settings, logging }: ProgramContext): LogShipper {
  const { values, origins } = settings;
  const isBatchSizeSet = origins.has("PREFECT_LOGGING_TO_API_BATCH_SIZE");
  const cloudLimit = connection.isCloud ? values.PREFECT_CLOUD_MAX_LOG_SIZE : Number.POSITIVE_INFINITY;
  return new LogShipper(
    api,
    {
      batchIntervalMs: values.PREFECT_LOGGING_TO_API_BATCH_INTERVAL * 1000,
      batchBytes: isBatchSizeSet ? values.PREFECT_LOGGING_TO_API_BATCH_SIZE : safeBatchBytes,
      maxLogBytes: Math.min(values.PREFECT_LOGGING_TO_API_MAX_LOG_SIZE, cloudLimit),
      maxQueueBytes: maxQueuedLogBytes,
    },
    (message) => logging.logger.warn(message),
  );
}
