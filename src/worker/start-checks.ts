// What is found out, and said, before a worker starts. Source: prefect cli/_worker_utils.py.
import type { ApiClient } from "../api/client.ts";
import { ApiError, isMisconfigured, isTransient } from "../api/errors.ts";
import type { WorkPool } from "../api/wire.ts";
import { filterWorkQueues, findWorkPool } from "../api/work-pools.ts";
import type { Logger } from "../logger.ts";
import { StartError } from "./start-error.ts";

/** Which pool, and what the user said about it. */
export interface StartQuestion {
  api: ApiClient;
  workPoolName: string;
  workQueueNames: readonly string[];
  /** The option `--type`. */
  workerType: string | null;
  announce: (message: string) => void;
  log: Logger;
}

/** What the start begins with: the type to be, and the work pool if the server could be asked and has it. */
export interface StartAnswer {
  workerType: string;
  read: { kind: "read"; pool: WorkPool | undefined } | { kind: "unreachable" };
}

/**
 * Reads the work pool and decides which type of worker to be: the one asked for, else the pool's, else process.
 * Throws StartError when the pool needs no worker or the server cannot be asked, ApiError when it refuses.
 */
export async function readStartPool(question: StartQuestion, signal: AbortSignal): Promise<StartAnswer> {
  const { api, workPoolName, workerType, announce, log } = question;
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
    throw describe(error, workPoolName);
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

function describe(error: unknown, workPoolName: string): unknown {
  if (isTransient(error) && !isMisconfigured(error)) {
    return new StartError(
      `Unable to reach the Prefect API to determine the type of work pool '${workPoolName}': ${(error as Error).message} Provide a worker type with '--type' to start a worker while the API is unavailable.`,
      { cause: error },
    );
  }
  if (!(error instanceof ApiError)) return error;
  return new StartError(`Unable to determine the type of work pool '${workPoolName}': ${error.message}`, {
    cause: error,
  });
}

/** Says so when every queue the worker would take flow runs from is paused. Only a notice: failures are ignored. */
export async function noticePausedQueues(question: StartQuestion, signal: AbortSignal): Promise<void> {
  const { api, workPoolName, workQueueNames, announce, log } = question;
  try {
    const queues = await filterWorkQueues(api, workPoolName, workQueueNames, { signal });
    if (queues.length === 0 || !queues.every((queue) => queue.is_paused)) return;
    const which =
      workQueueNames.length > 0
        ? `Specified work queue(s) in the work pool '${workPoolName}' are currently paused.`
        : `All work queues in the work pool '${workPoolName}' are currently paused.`;
    announce(`${which} This worker will not execute any flow runs until the work queues are unpaused.`);
  } catch (error) {
    log.debug({ err: error }, "paused work queues could not be looked for");
  }
}
