// Turns the options of `worker start` and the settings into the options of the host and its workers.
import type { JsonObject } from "../api/wire.ts";
import type { HostOptions } from "../host/host.ts";
import type { PoolType } from "../infrastructure/pool-type.ts";
import { poolTypeNames } from "../infrastructure/pool-type-names.ts";
import { findPoolType } from "../infrastructure/pool-types.ts";
import type { LogFormat } from "../logger.ts";
import { randomUuid } from "../random-ids.ts";
import type { OnLost } from "../run/run-context.ts";
import type { WorkerOptions } from "../worker/worker.ts";
import { WorkerStartError } from "../worker/worker-start-error.ts";
import { type EngineMode, keepsOrphans, lostAfterSeconds, warmEngines } from "./lictor-variables.ts";
import type { ProgramContext } from "./program-context.ts";

/** The options from the command line. */
export interface WorkerStartOptions {
  name?: string;
  pool: string[];
  workQueue: string[];
  type?: string;
  prefetchSeconds?: number;
  runOnce: boolean;
  limit?: number;
  drainTimeout?: number;
  onLost: OnLost;
  withHealthcheck: boolean;
  baseJobTemplate?: JsonObject;
  createPoolIfNotFound: boolean;
  python?: string;
  engine?: EngineMode;
  logFormat?: LogFormat;
  workspace?: string;
  profile?: string;
}

/**
 * Returns the options of one worker per work pool. Throws WorkerStartError for names that cannot be part of an API
 * route.
 */
export function toWorkerOptions(options: WorkerStartOptions, { settings }: ProgramContext): WorkerOptions[] {
  const { values } = settings;
  const pools = [...new Set(options.pool)];
  if (pools.length === 0) throw new WorkerStartError("Missing required option '--pool' / '-p'.");
  for (const pool of pools) {
    if (pool.trim() === "") throw new WorkerStartError("The name of a work pool is empty. Name it with --pool.");
    if (/[/%&><]/.test(pool)) throw new WorkerStartError(`Work pool name '${pool}' cannot contain any of / % & > <`);
  }
  if (options.type !== undefined) supportedPoolType(options.type);
  // An empty name is none, as with the reference.
  const name = options.name || defaultName(options.type ?? "process");
  if (/[/%]/.test(name)) throw new WorkerStartError("Worker name cannot contain '/' or '%'");
  if (/\p{Cc}/u.test(name)) {
    throw new WorkerStartError("Worker name cannot contain line ends or other control characters");
  }
  return pools.map((workPoolName) => ({
    name,
    workPoolName,
    workQueueNames: queuesOf(workPoolName, pools, options.workQueue),
    createPoolIfNotFound: options.createPoolIfNotFound,
    baseJobTemplate: options.baseJobTemplate ?? null,
    prefetchSeconds: options.prefetchSeconds ?? Math.trunc(values.PREFECT_WORKER_PREFETCH_SECONDS),
    querySeconds: values.PREFECT_WORKER_QUERY_SECONDS,
    heartbeatSeconds: Math.trunc(values.PREFECT_WORKER_HEARTBEAT_SECONDS),
    isObserved: options.withHealthcheck || values.PREFECT_CLIENT_METRICS_ENABLED,
    cancellation: {
      enabled: values.PREFECT_WORKER_ENABLE_CANCELLATION,
      pollSeconds: values.PREFECT_WORKER_CANCELLATION_POLL_SECONDS,
      crashOnFailure: values.PREFECT_RUNNER_CRASH_ON_CANCELLATION_FAILURE,
    },
  }));
}

/** Returns a name for a worker without one. The reference names a worker after its class, such as `DockerWorker`. */
export function defaultName(poolType: string): string {
  return `${poolType.charAt(0).toUpperCase()}${poolType.slice(1)}Worker ${randomUuid()}`;
}

/** Returns the work queues of one pool. `pool/queue` is a queue of one pool, and `queue` is a queue of every pool. */
function queuesOf(pool: string, pools: readonly string[], queues: readonly string[]): string[] {
  return queues.flatMap((queue) => {
    const [first = "", second, ...others] = queue.split("/");
    if (first === "" || second === "" || others.length > 0) {
      throw new WorkerStartError(`'${queue}' is no name of a work queue. Write queue, or pool/queue.`);
    }
    if (second === undefined) return [queue];
    if (!pools.includes(first)) {
      throw new WorkerStartError(`Work queue '${queue}' is of a pool that is not given: add --pool ${first}.`);
    }
    return first === pool ? [second] : [];
  });
}

/** Returns the options that all workers share. Throws WorkerStartError for a variable that cannot be used. */
export function toHostOptions(options: WorkerStartOptions, { settings, env }: ProgramContext): HostOptions {
  const { values, origins } = settings;
  return {
    runOnce: options.runOnce,
    onLost: options.onLost,
    keepsOrphans: keepsOrphans(env),
    warmEngines: warmEngines(options.engine, env),
    lostAfterSeconds: lostAfterSeconds(env),
    cancelsPending: values.PREFECT_WORKER_ENABLE_CANCELLATION,
    // Null unless the user sets it, because older workers had no default, and engines have their own.
    flowRunHeartbeatSeconds: origins.has("PREFECT_FLOWS_HEARTBEAT_FREQUENCY")
      ? values.PREFECT_FLOWS_HEARTBEAT_FREQUENCY
      : null,
  };
}

/** Returns the type of work pools with this name. Throws WorkerStartError if lictor cannot serve it. */
export function supportedPoolType(type: string): PoolType {
  if (/:(push|managed)$/.test(type)) {
    throw new WorkerStartError(
      "Workers are not required for push work pools. See https://www.prefect.io/docs/latest/deploy/infrastructure-examples/serverless for more details.",
    );
  }
  const poolType = findPoolType(type);
  if (poolType) return poolType;
  throw new WorkerStartError(
    `Work pools of type '${type}' are not supported by lictor. Supported: ${poolTypeNames.join(", ")}.`,
  );
}

/** Returns the Python that the user set, and with which option or variable, or undefined. */
export function explicitPython(
  options: { python?: string },
  env: ProgramContext["env"],
): { python: string; origin: string } | undefined {
  if (options.python) return { python: options.python, origin: "--python" };
  return env.LICTOR_PYTHON ? { python: env.LICTOR_PYTHON, origin: "LICTOR_PYTHON" } : undefined;
}
