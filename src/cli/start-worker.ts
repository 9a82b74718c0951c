// Puts a worker together from options and settings, runs it, and takes it apart.
import { randomUUID } from "node:crypto";
import { LogShipper, safeBatchBytes } from "../api/log-shipper.ts";
import { Background } from "../async/background.ts";
import { monotonicMs } from "../async/clock.ts";
import { findPython, type PythonFinding } from "../engine/find-python.ts";
import type { PoolType } from "../infrastructure/infrastructure.ts";
import { findPoolType, poolTypeNames } from "../infrastructure/pool-types.ts";
import type { ProcessDependencies } from "../infrastructure/process.ts";
import { ControlChannel } from "../process/control-channel.ts";
import { WorkerEvents } from "../run/worker-events.ts";
import { uiUrlFor } from "../settings/derived.ts";
import { EventPublisher } from "../sockets/event-publisher.ts";
import { runWorker } from "../worker/run-worker.ts";
import { readStartPool } from "../worker/start-checks.ts";
import { StartError } from "../worker/start-error.ts";
import type { StatusSources } from "../worker/status.ts";
import { Worker, type WorkerOptions } from "../worker/worker.ts";
import { tryListenForHealth, tryListenForMetrics } from "./listen.ts";
import { type OpenApi, openApi, toSocketAddress } from "./open-api.ts";
import type { ProgramContext } from "./program-context.ts";
import { countSignals, type StopSignals } from "./signals.ts";
import type { StartOptions } from "./worker-start.ts";

/** Starts a worker and returns when it has stopped. Throws what ends it otherwise. */
export async function startWorker(options: StartOptions, program: ProgramContext): Promise<void> {
  const { logging } = program;
  const workerOptions = toWorkerOptions(options, program);
  using signals = countSignals((message) => logging.logger.warn(message));
  const known: StatusSources = {
    startedAt: monotonicMs(),
    options: workerOptions,
    profileName: program.settings.profile.name,
    stop: signals.stop,
  };
  using _health = await tryListenForHealth(known, program);
  // Found while the server is asked; nothing waits for it but the first claim.
  const search = new AbortController();
  const python = findPython({
    explicit: explicitPython(options, program.env),
    env: program.env,
    signal: search.signal,
  });
  try {
    using open = await openApi(program, options.workspace, signals.stop);
    open.api.attribution.workerName = workerOptions.name;
    const { api, connection, credentials } = open;
    known.api = { url: connection.apiUrl, credentials, maintenanceAt: () => api.maintenanceAt };
    await run({ options, workerOptions, program, open, signals, python, search: search.signal, known });
  } catch (error) {
    // What a stop interrupts is no failure.
    if (error !== signals.stop.reason) throw error;
  } finally {
    search.abort();
  }
}

interface Parts {
  options: StartOptions;
  workerOptions: WorkerOptions;
  program: ProgramContext;
  open: OpenApi;
  signals: StopSignals;
  python: Promise<PythonFinding>;
  /** Aborted when the search for a Python is given up. */
  search: AbortSignal;
  /** Told of the worker as soon as there is one. */
  known: StatusSources;
}

async function run(parts: Parts): Promise<void> {
  const { options, workerOptions, program, open, signals, python } = parts;
  const { api, connection } = open;
  const { logging, settings } = program;
  const question = {
    api,
    workPoolName: workerOptions.workPoolName,
    workQueueNames: workerOptions.workQueueNames,
    workerType: options.type ?? null,
    announce: logging.announce,
    log: logging.logger,
  };
  const start = await readStartPool(question, signals.stop);
  using control = await tryOpenControl(program);
  const poolType = supportedType(start.workerType, { python, control, log: logging.named("prefect.flow_runs.worker") });
  const socketAddress = toSocketAddress(open, program);
  const socketLog = logging.named("prefect.events");
  const eventPublisher = new EventPublisher({
    address: socketAddress,
    isCloud: connection.isCloud,
    log: socketLog,
    random: Math.random,
  });
  const events = new WorkerEvents({ name: workerOptions.name, type: poolType.name }, (event) =>
    eventPublisher.emit(event),
  );
  const worker = new Worker(workerOptions, {
    api,
    uiUrl: uiUrlFor(settings, connection.apiUrl),
    named: logging.named,
    announce: logging.announce,
    poolType,
    python: pythonOrSaySo(parts),
    exportedSettings: open.exportedSettings,
    workerEnvironment: program.env,
    events,
    background: new Background(),
    leave: signals.leave,
    random: Math.random,
  });
  Object.assign(parts.known, { worker, eventPublisher });
  using _metrics = await tryListenForMetrics({ worker, eventPublisher }, program);
  const logShipper = settings.values.PREFECT_LOGGING_TO_API_ENABLED ? openLogShipper(open, program) : null;
  await runWorker(worker, start, { socketAddress, eventPublisher, logShipper, logging, question }, signals);
}

/** The worker's name as the reference makes it, and a name that its routes can carry. */
function toWorkerOptions(options: StartOptions, { settings }: ProgramContext): WorkerOptions {
  const { values, origins } = settings;
  if (!options.pool) throw new StartError("Missing required option '--pool' / '-p'.");
  if (/[/%&><]/.test(options.pool)) {
    throw new StartError(`Work pool name '${options.pool}' cannot contain any of / % & > <`);
  }
  const name = options.name ?? `ProcessWorker ${randomUUID()}`;
  if (/[/%]/.test(name)) throw new StartError("Worker name cannot contain '/' or '%'");
  if (/\p{Cc}/u.test(name)) throw new StartError("Worker name cannot contain line ends or other control characters");
  if (options.type !== undefined) assertSupported(options.type);
  return {
    name,
    workPoolName: options.pool,
    workQueueNames: options.workQueue,
    limit: options.limit ?? null,
    runOnce: options.runOnce,
    createPoolIfNotFound: options.createPoolIfNotFound,
    baseJobTemplate: options.baseJobTemplate ?? null,
    prefetchSeconds: options.prefetchSeconds ?? Math.trunc(values.PREFECT_WORKER_PREFETCH_SECONDS),
    querySeconds: values.PREFECT_WORKER_QUERY_SECONDS,
    heartbeatSeconds: Math.trunc(values.PREFECT_WORKER_HEARTBEAT_SECONDS),
    healthcheck: options.withHealthcheck
      ? { host: values.PREFECT_WORKER_WEBSERVER_HOST, port: values.PREFECT_WORKER_WEBSERVER_PORT }
      : null,
    isObserved: options.withHealthcheck || values.PREFECT_CLIENT_METRICS_ENABLED,
    // Engines have a default, workers of their day had none.
    flowRunHeartbeatSeconds: origins.has("PREFECT_FLOWS_HEARTBEAT_FREQUENCY")
      ? values.PREFECT_FLOWS_HEARTBEAT_FREQUENCY
      : null,
    cancellation: {
      enabled: values.PREFECT_WORKER_ENABLE_CANCELLATION,
      pollSeconds: values.PREFECT_WORKER_CANCELLATION_POLL_SECONDS,
      crashOnFailure: values.PREFECT_RUNNER_CRASH_ON_CANCELLATION_FAILURE,
    },
  };
}

function assertSupported(type: string): void {
  if (poolTypeNames.includes(type)) return;
  throw new StartError(
    `Work pools of type '${type}' are not supported by lictor. Supported: ${poolTypeNames.join(", ")}.`,
  );
}

function supportedType(type: string, dependencies: ProcessDependencies): PoolType {
  if (/:(push|managed)$/.test(type)) {
    throw new StartError(
      "Workers are not required for push work pools. See https://www.prefect.io/docs/latest/deploy/infrastructure-examples/serverless for more details.",
    );
  }
  assertSupported(type);
  const poolType = findPoolType(type, dependencies);
  if (!poolType) throw new StartError(`Work pools of type '${type}' are not supported by lictor.`);
  return poolType;
}

/** The Python that the user names, if any. */
export function explicitPython(
  options: { python?: string },
  env: ProgramContext["env"],
): { python: string; origin: string } | undefined {
  if (options.python) return { python: options.python, origin: "--python" };
  return env.LICTOR_PYTHON ? { python: env.LICTOR_PYTHON, origin: "LICTOR_PYTHON" } : undefined;
}

/** Without it a flow run can still be cancelled; its engine then takes that for a crash. */
async function tryOpenControl({ logging }: ProgramContext): Promise<ControlChannel | null> {
  try {
    return await ControlChannel.open();
  } catch (error) {
    logging.logger.warn(
      { err: error },
      "Failed to bind control channel listener on loopback; engines are not told of cancellations",
    );
    return null;
  }
}

/** Says once, and once only, that there is no Python, and what follows from it. */
async function pythonOrSaySo({ python, program, search }: Parts): Promise<PythonFinding> {
  const finding = await python;
  if (search.aborted) return finding;
  const log = program.logging.logger;
  if (finding.kind === "found") log.debug({ ...finding.engine }, "Python found");
  else log.error(`${finding.message} Until then only flow runs with a command of their own are taken.`);
  return finding;
}

/** Log records that wait for a server that is away: four times what one request carries unless set otherwise. */
const maxWaitingLogBytes = 16_000_000;

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
      maxWaitingBytes: maxWaitingLogBytes,
    },
    (message) => logging.logger.warn(message),
  );
}
