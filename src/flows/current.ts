// Which flow run and task run the current code belongs to.
import { AsyncLocalStorage } from "node:async_hooks";
import type { TaskReports } from "./task-reports.ts";
import type { RunContext } from "./types.ts";

/** The context of the current code, and where its task runs are reported. Null without a worker. */
export interface Current extends RunContext {
  readonly reports: TaskReports | null;
}

const storage = new AsyncLocalStorage<Current>();
const never = new AbortController().signal;
const outside: Current = { flowRunId: null, taskRunId: null, attempt: 1, signal: never, reports: null };

/** Returns the context of the current code. Outside a flow, nothing in it is set. */
export function current(): Current {
  return storage.getStore() ?? outside;
}

/** Calls `act` in another context. */
export function runIn<T>(context: Current, act: () => T): T {
  return storage.run(context, act);
}

/** Returns where the current code runs: the flow run, the task run, the attempt, and the signal of its cancellation. */
export function context(): RunContext {
  const { flowRunId, taskRunId, attempt, signal } = current();
  return { flowRunId, taskRunId, attempt, signal };
}
