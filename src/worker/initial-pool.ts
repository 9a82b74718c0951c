// Reads the work pool at the start of a worker. Source: prefect cli/_worker_utils.py.
import type { Api } from "../api/api.ts";
import { ApiError, isMisconfigured, isTransient } from "../api/errors.ts";
import type { WorkPool } from "../api/wire.ts";
import { filterWorkQueues, findWorkPool } from "../api/work-pools.ts";
import type { Logger } from "../logger.ts";
import type { Worker } from "./worker.ts";
import { WorkerStartError } from "./worker-start-error.ts";

/** Which pool to read, and which type the user asked for. */
export interface InitialPoolRequest {
  readonly api: Api;
  readonly workPoolName: string;
  /** The option `--type`. */
  readonly workerType: string | null;
  readonly announce: (message: string) => void;
  readonly log: Logger;
}

/** The type of the worker, and the work pool. `pool` is undefined when it does not exist. */
export interface InitialPool {
  readonly workerType: string;
  readonly read: { readonly kind: "read"; readonly pool: WorkPool | undefined } | { readonly kind: "unreachable" };
}

/**
 * Reads the work pool and returns it with the worker's type: the one asked for, else the pool's, else `process`. Throws
 * WorkerStartError when the request fails and no type was asked for, or when the server refuses it for good.
 */
export async function readInitialPool(request: InitialPoolRequest, signal: AbortSignal): Promise<InitialPool> {
  const { api, workPoolName, workerType, announce, log } = request;
  let pool: WorkPool | undefined;
  try {
    pool = await findWorkPool(api, workPoolName, { signal });
  } catch (error) {
    signal.throwIfAborted();
    if (workerType !== null && isTransient(error) && !isMisconfigured(error)) {
      log.warn(
        { err: error },
        "Unable to reach the Prefect API while starting up; the worker will keep attempting to connect",
      );
      return { workerType, read: { kind: "unreachable" } };
    }
    throw toStartError(error, workPoolName);
  }
  if (pool?.is_paused) {
    announce(
      `The work pool '${pool.name}' is currently paused. This worker will not execute any flow runs until the work pool is unpaused.`,
    );
  }
  if (workerType !== null) return { workerType, read: { kind: "read", pool } };
  if (!pool) {
    announce(
      `Work pool '${workPoolName}' does not exist and no worker type was provided. Starting a process worker...`,
    );
    return { workerType: "process", read: { kind: "read", pool } };
  }
  announce(`Discovered type '${pool.type}' for work pool '${pool.name}'.`);
  return { workerType: pool.type, read: { kind: "read", pool } };
}

function toStartError(error: unknown, workPoolName: string): unknown {
  if (isTransient(error) && !isMisconfigured(error)) {
    return new WorkerStartError(
      `Unable to reach the Prefect API to determine the type of work pool '${workPoolName}': ${sentence((error as Error).message)} Provide a worker type with '--type' to start a worker while the API is unavailable.`,
      { cause: error },
    );
  }
  if (!(error instanceof ApiError)) return error;
  return new WorkerStartError(`Unable to determine the type of work pool '${workPoolName}': ${error.message}`, {
    cause: error,
  });
}

/** Returns a text with a full stop at its end. */
function sentence(text: string): string {
  return text.replace(/[.\s]*$/, ".");
}

/** Announces it when every work queue of the worker is paused. It is only a notice, so a failure is logged at debug. */
export async function noticePausedQueues(worker: Worker, signal: AbortSignal): Promise<void> {
  const { workPoolName, workQueueNames } = worker.options;
  try {
    const queues = await filterWorkQueues(worker.api, workPoolName, workQueueNames, { signal });
    if (queues.length === 0 || !queues.every((queue) => queue.is_paused)) return;
    const which =
      workQueueNames.length > 0
        ? `Specified work queue(s) in the work pool '${workPoolName}' are currently paused.`
        : `All work queues in the work pool '${workPoolName}' are currently paused.`;
    const effect = "This worker will not execute any flow runs until the work queues are unpaused.";
    worker.services.announce(`${which} ${effect}`);
  } catch (error) {
    worker.log.debug({ err: error }, "The search for paused work queues failed");
  }
}
