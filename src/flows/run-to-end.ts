// A flow as the program of a flow run: it is run once, and the process ends with its outcome, however it ends.
import { setMaxListeners } from "node:events";
import { readFileSync, writeFileSync } from "node:fs";
import { monotonicMs, startTimer } from "../async/clock.ts";
import { Api } from "./api.ts";
import { type Current, runIn } from "./current.ts";
import { log, toJson } from "./log.ts";
import { untilNoneRuns } from "./running.ts";
import { describe } from "./task.ts";
import { TaskReports } from "./task-reports.ts";
import type { FlowOptions, ParameterDefinitions } from "./types.ts";

/** A flow of this module. */
export interface DefinedFlow {
  readonly options: FlowOptions<ParameterDefinitions>;
  /** Runs the flow. If it is not timed, somebody else stops it after its time. */
  execute(given: Readonly<Record<string, unknown>>, caller: Current, options: { isTimed: boolean }): Promise<unknown>;
}

/** How long the end may take: after SIGTERM, because the worker kills the process after 30 s, and else. */
const cancelledEndMs = 25_000;
const lastReportsMs = 600_000;
/** How long functions may tidy up. The rest of the time is for the last reports. */
const longestTidyingMs = 20_000;
/** The worker uses no longer result. */
const maxResultBytes = 10_000;

/** What the worker says about the flow run. */
interface GivenRun {
  readonly flowRunId: string;
  readonly resultFile: string;
  readonly env: Readonly<Record<string, string | undefined>>;
}

/** Runs the flow and ends the process: 0 for a success, 1 for a failure, 143 after SIGTERM. */
export async function runToEnd({ execute }: DefinedFlow, { flowRunId, resultFile, env }: GivenRun): Promise<void> {
  const cancelled = new AbortController();
  setMaxListeners(0, cancelled.signal);
  let cancelledAtMs = 0;
  process.once("SIGTERM", () => {
    cancelledAtMs = monotonicMs();
    cancelled.abort(new DOMException("The flow run was cancelled.", "AbortError"));
  });
  const api = Api.of(env);
  const warn = (reason: string): void =>
    runIn(context, () => log.warn(`Task runs could not be reported to the server. ${reason}`));
  const reports = api && new TaskReports(api, flowRunId, warn);
  const context: Current = { flowRunId, taskRunId: null, attempt: 1, signal: cancelled.signal, reports };
  let code = 0;
  const broken = watchProcess(resultFile);
  try {
    // The worker knows the time limit and reports TimedOut.
    const ended = execute(readParameters(env), context, { isTimed: false });
    const result = await Promise.race([ended, broken.failed]);
    runIn(context, () => writeResult(resultFile, result));
  } catch (error) {
    code = cancelled.signal.aborted ? 143 : 1;
    if (code === 1) fail(error, resultFile);
  }
  broken.isOver = true;
  if (cancelled.signal.aborted) await untilNoneRuns(longestTidyingMs);
  reports?.endAll();
  const limitMs = cancelled.signal.aborted ? cancelledAtMs + cancelledEndMs - monotonicMs() : lastReportsMs;
  const late = new Promise<void>((resolve) => startTimer(limitMs, resolve));
  await Promise.race([reports?.flush(), late]);
  process.exit(code);
}

interface ProcessWatch {
  /** Rejects if something throws outside the flow, or if nothing is left that the flow could wait for. */
  readonly failed: Promise<never>;
  /** The outcome of the flow is known, so nothing changes it any more. */
  isOver: boolean;
}

/** Watches for ends that the flow does not know of. If a part of the flow ends the process, the result says so. */
function watchProcess(resultFile: string): ProcessWatch {
  let fails: (error: unknown) => void = () => {};
  const failed = new Promise<never>((_resolve, reject) => {
    fails = reject;
  });
  const watch: ProcessWatch = { failed, isOver: false };
  process.on("uncaughtException", (error) => {
    // A module with a listener of its own may want to go on.
    if (process.listenerCount("uncaughtException") > 1) return;
    if (watch.isOver) process.stderr.write(`${textOf(error)}\n`);
    fails(error);
  });
  process.once("beforeExit", () => fails(new Error("The flow waits for a promise that nothing can resolve any more.")));
  process.once("exit", (code) => {
    if (watch.isOver || code !== 0) return;
    fail(new Error("The process was ended before the flow. Return from the flow instead of calling exit."), resultFile);
    process.exitCode = 1;
  });
  return watch;
}

function readParameters(env: GivenRun["env"]): Readonly<Record<string, unknown>> {
  const { LICTOR_PARAMETERS_FILE: file, PREFECT__PARAMETERS: text } = env;
  return JSON.parse(file ? readFileSync(file, "utf8") : (text ?? "{}")) as Record<string, unknown>;
}

/** Uses what a flow returns as the message of its state, if it fits. It never makes a flow fail. */
function writeResult(file: string, result: unknown): void {
  if (result === undefined || result === null) return;
  let text: string | undefined;
  try {
    text = toJson(result);
  } catch (error) {
    log.warn(`The result of the flow cannot be written as JSON, so it is not shown. ${describe(error)}`);
  }
  if (text === undefined) return;
  if (Buffer.byteLength(text) <= maxResultBytes) writeFileSync(file, text);
  else log.warn(`The result of the flow has more than ${maxResultBytes} bytes as JSON, so it is not shown.`);
}

/** Tells the worker why the flow run failed. */
export function fail(error: unknown, resultFile: string): void {
  process.stderr.write(`${textOf(error)}\n`);
  // Source: prefect states.py exception_to_failed_state.
  const message = `Flow run encountered an exception: ${describe(error)}`.slice(0, maxResultBytes / 4);
  writeFileSync(resultFile, JSON.stringify({ message }));
}

function textOf(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}
