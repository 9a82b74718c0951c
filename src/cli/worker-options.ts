// From the options of `worker start` and the settings to the options of a program and its workers.
import { randomUUID } from "node:crypto";
import type { JsonObject } from "../api/wire.ts";
import type { HostOptions } from "../host/host.ts";
import { poolTypeNames } from "../infrastructure/pool-types.ts";
import type { LogFormat } from "../logger.ts";
import type { WorkerOptions } from "../worker/worker.ts";
import { WorkerStartError } from "../worker/worker-start-error.ts";
import type { ProgramContext } from "./program-context.ts";

/** The options as the command line gave them. */
export interface WorkerStartOptions {
  name?: string;
  pool: string[];
  workQueue: string[];
  type?: string;
  prefetchSeconds?: number;
  runOnce: boolean;
  limit?: number;
  drainTimeout?: number;
  withHealthcheck: boolean;
  baseJobTemplate?: JsonObject;
  createPoolIfNotFound: boolean;
  python?: string;
  logFormat?: LogFormat;
  workspace?: string;
  profile?: string;
}

/** The options of the worker of each pool. Throws WorkerStartError for names that the API's routes cannot carry. */
export function toWorkerOptions(options: WorkerStartOptions, { settings }: ProgramContext): WorkerOptions[] {
  const { values } = settings;
  const pools = [...new Set(options.pool)];
  if (pools.length === 0) throw new WorkerStartError("Missing required option '--pool' / '-p'.");
  for (const pool of pools) {
    if (/[/%&><]/.test(pool)) throw new WorkerStartError(`Work pool name '${pool}' cannot contain any of / % & > <`);
  }
  // The reference names a worker after its class; each type of worker has its own.
  const name = options.name ?? `ProcessWorker ${randomUUID()}`;
  if (/[/%]/.test(name)) throw new WorkerStartError("Worker name cannot contain '/' or '%'");
  if (/\p{Cc}/u.test(name)) {
    throw new WorkerStartError("Worker name cannot contain line ends or other control characters");
  }
  if (options.type !== undefined) assertSupported(options.type);
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

/** `pool/queue` names a queue of one pool, `queue` one of every pool. Queue names hold no slash. */
function queuesOf(pool: string, pools: readonly string[], queues: readonly string[]): string[] {
  return queues.flatMap((queue) => {
    const [first = "", second] = queue.split("/");
    if (second === undefined) return [queue];
    if (!pools.includes(first)) {
      throw new WorkerStartError(`Work queue '${queue}' is of a pool that is not given: add --pool ${first}.`);
    }
    return first === pool ? [second] : [];
  });
}

/** The options that all workers share. */
export function toHostOptions(options: WorkerStartOptions, { settings }: ProgramContext): HostOptions {
  const { values, origins } = settings;
  return {
    runOnce: options.runOnce,
    cancelsPending: values.PREFECT_WORKER_ENABLE_CANCELLATION,
    // Engines have a default; workers of their day had none.
    flowRunHeartbeatSeconds: origins.has("PREFECT_FLOWS_HEARTBEAT_FREQUENCY")
      ? values.PREFECT_FLOWS_HEARTBEAT_FREQUENCY
      : null,
  };
}

/** Throws WorkerStartError when lictor serves no work pools of that type. */
export function assertSupported(type: string): void {
  if (/:(push|managed)$/.test(type)) {
    throw new WorkerStartError(
      "Workers are not required for push work pools. See https://www.prefect.io/docs/latest/deploy/infrastructure-examples/serverless for more details.",
    );
  }
  if (poolTypeNames.includes(type)) return;
  throw new WorkerStartError(
    `Work pools of type '${type}' are not supported by lictor. Supported: ${poolTypeNames.join(", ")}.`,
  );
}

/** The Python that the user names, if any. */
export function explicitPython(
  options: { python?: string },
  env: ProgramContext["env"],
): { python: string; origin: string } | undefined {
  if (options.python) return { python: options.python, origin: "--python" };
  return env.LICTOR_PYTHON ? { python: env.LICTOR_PYTHON, origin: "LICTOR_PYTHON" } : undefined;
}
