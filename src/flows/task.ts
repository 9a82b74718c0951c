// Tasks: functions whose calls are task runs, with retries, time limits and limited concurrency.
import { randomUUID } from "node:crypto";
import { Places } from "../async/places.ts";
import { sleep } from "../async/sleep.ts";
import { type Linked, linkTo, untilAborted } from "./abort.ts";
import { checkTask } from "./check-options.ts";
import { type Current, current, runIn } from "./current.ts";
import { countAsRunning } from "./running.ts";
import type { TaskReports } from "./task-reports.ts";
import type { TaskOptions } from "./types.ts";

/** An attempt that ran for too long. */
class TaskTimeoutError extends Error {
  override readonly name = "TaskTimeoutError";
}

/**
 * Returns a function that does the same as `act`. Within a flow, each call is a task run. A call is rejected when the last
 * attempt has failed, or when the flow run is cancelled. Throws a TypeError for an option that cannot be used.
 */
export function task<Arguments extends readonly unknown[], Result>(
  options: TaskOptions | string,
  act: (...given: Arguments) => Result | Promise<Result>,
): (...given: Arguments) => Promise<Result> {
  const settings = typeof options === "string" ? { name: options } : options;
  checkTask(settings, act);
  const places = new Places(() => settings.concurrency ?? Number.POSITIVE_INFINITY);
  return async (...given) => {
    const caller = current();
    caller.signal.throwIfAborted();
    if (!(await places.enter(caller.signal))) throw caller.signal.reason;
    try {
      return await run(settings, caller, async () => await act(...given));
    } finally {
      places.leave();
    }
  };
}

async function run<Result>(settings: TaskOptions, caller: Current, act: () => Promise<Result>): Promise<Result> {
  const { reports } = caller;
  const id = reports === null ? null : randomUUID();
  const { name, tags = [], retries = 0 } = settings;
  if (id !== null) reports?.begin({ id, name, tags, retries, parent: caller.taskRunId });
  for (let attempt = 1; ; attempt++) {
    using limit = linkTo(caller.signal);
    const context: Current = { ...caller, taskRunId: id, attempt, signal: limit.signal };
    try {
      const result = await runIn(context, () => attemptOnce(settings, limit, act));
      if (id !== null) reports?.end(id, { type: "COMPLETED", name: "Completed", message: null });
      return result;
    } catch (error) {
      const isOver = caller.signal.aborted || attempt > retries;
      if (isOver) {
        if (id !== null) reports?.end(id, lastState(error, caller.signal));
        throw error;
      }
      const delaySeconds = delayOf(settings, attempt);
      if (id !== null) reports?.retry(id, describe(error), delaySeconds);
      await waitForRetry(delaySeconds, { id, reports, signal: caller.signal });
      if (id !== null) reports?.again(id);
    }
  }
}

/** Rejects at once when the task is cancelled or its time is over, also if `act` does not look at the signal. */
async function attemptOnce<Result>(
  { timeoutSeconds }: TaskOptions,
  limit: Linked,
  act: () => Promise<Result>,
): Promise<Result> {
  limit.signal.throwIfAborted();
  if (timeoutSeconds !== undefined) {
    const message = `Task run exceeded timeout of ${timeoutSeconds} second(s)`;
    limit.abortAfter(timeoutSeconds * 1000, () => new TaskTimeoutError(message));
  }
  return await Promise.race([countAsRunning(act()), untilAborted(limit.signal)]);
}

async function waitForRetry(
  seconds: number,
  { id, reports, signal }: { id: string | null; reports: TaskReports | null; signal: AbortSignal },
): Promise<void> {
  await sleep(seconds * 1000, signal);
  if (!signal.aborted) return;
  if (id !== null) reports?.end(id, lastState(signal.reason, signal));
  throw signal.reason;
}

const longestDelaySeconds = 60;

function delayOf({ retryDelaySeconds: delay }: TaskOptions, attempt: number): number {
  if (typeof delay === "number") return delay;
  if (typeof delay === "function") return Math.max(0, delay(attempt));
  if (delay !== undefined) return delay[Math.min(attempt, delay.length) - 1] ?? 0;
  return Math.min(longestDelaySeconds, 2 ** (attempt - 1));
}

function lastState(error: unknown, signal: AbortSignal) {
  if (signal.aborted) return { type: "CANCELLED", name: "Cancelled", message: describe(signal.reason) } as const;
  if (error instanceof TaskTimeoutError) return { type: "FAILED", name: "TimedOut", message: error.message } as const;
  // Source: prefect states.py exception_to_failed_state.
  return { type: "FAILED", name: "Failed", message: `Task run encountered an exception ${describe(error)}` } as const;
}

/** Returns the kind and the message of an error. */
export function describe(error: unknown): string {
  return error instanceof Error ? `${error.name}: ${error.message}` : String(error);
}
