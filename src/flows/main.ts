// What happens when a module with flows is the program of a flow run: its flow is run, and the process ends with its outcome.

import { setMaxListeners } from "node:events";
import { readFileSync, writeFileSync } from "node:fs";
import { startTimer } from "../async/clock.ts";
import { Api } from "./api.ts";
import { type Current, runIn } from "./current.ts";
import { log } from "./log.ts";
import { toSchema } from "./parameters.ts";
import { describe } from "./task.ts";
import { TaskReports } from "./task-reports.ts";
import type { FlowOptions, ParameterDefinitions } from "./types.ts";

/** A flow of this module. */
export interface DefinedFlow {
  readonly options: FlowOptions<ParameterDefinitions>;
  /** Runs the flow. If it is not timed, somebody else stops it after its time. */
  execute(given: Readonly<Record<string, unknown>>, caller: Current, options: { isTimed: boolean }): Promise<unknown>;
}

/** How long the last reports may take: after SIGTERM, because the worker waits for 30 s, and else. */
const cancelledReportsMs = 20_000;
const lastReportsMs = 600_000;
/** The worker uses no longer result. */
const maxResultBytes = 10_000;

const flows = new Map<string, DefinedFlow>();
let isPlanned = false;

/** Adds a flow. The first one plans what the process does after it has defined all. */
export function define(flow: DefinedFlow): void {
  const { name } = flow.options;
  // Without types, it is easily forgotten.
  if (typeof name !== "string" || name === "")
    throw new Error('A flow needs a name: flow({ name: "report" }, function).');
  if (flows.has(name)) throw new Error(`Two flows have the name '${name}'.`);
  flows.set(name, flow);
  if (isPlanned) return;
  isPlanned = true;
  const { LICTOR_DESCRIBE_FILE: describeFile, LICTOR_RESULT_FILE: resultFile, PREFECT__FLOW_RUN_ID: id } = process.env;
  if (describeFile) setImmediate(() => describeAll(describeFile));
  else if (id && resultFile) planRun(id, resultFile);
}

function describeAll(file: string): never {
  const descriptions = [...flows.values()].map(({ options }) => ({
    name: options.name,
    parameters: toSchema(options.parameters ?? {}),
    retries: options.retries ?? null,
    retryDelaySeconds: options.retryDelaySeconds ?? null,
    timeoutSeconds: options.timeoutSeconds ?? null,
  }));
  writeFileSync(file, JSON.stringify(descriptions));
  process.exit(0);
}

function planRun(flowRunId: string, resultFile: string): void {
  const { LICTOR_FLOW: wanted } = process.env;
  // A program that the flow starts must not take itself for the flow run.
  delete process.env.LICTOR_RESULT_FILE;
  delete process.env.LICTOR_FLOW;
  setImmediate(() => {
    const names = [...flows.keys()].map((name) => `'${name}'`).join(", ");
    const flow = wanted === undefined ? [...flows.values()][0] : flows.get(wanted);
    if (flow && (wanted !== undefined || flows.size === 1)) {
      void runToEnd(flow, { flowRunId, resultFile });
      return;
    }
    const problem = wanted === undefined ? "LICTOR_FLOW must name one of them." : `It has no flow '${wanted}'.`;
    fail(new Error(`The module has the flows ${names}. ${problem}`), resultFile);
    process.exit(1);
  });
}

/** Runs the flow and ends the process: 0 for a success, 1 for a failure, 143 after SIGTERM. */
async function runToEnd(
  { execute }: DefinedFlow,
  { flowRunId, resultFile }: { flowRunId: string; resultFile: string },
): Promise<void> {
  const cancelled = new AbortController();
  setMaxListeners(0, cancelled.signal);
  process.once("SIGTERM", () => cancelled.abort(new DOMException("The flow run was cancelled.", "AbortError")));
  const api = Api.of(process.env);
  const warn = (reason: string): void =>
    runIn(context, () => log.warn(`Task runs could not be reported to the server. ${reason}`));
  const reports = api && new TaskReports(api, flowRunId, warn);
  const context: Current = { flowRunId, taskRunId: null, attempt: 1, signal: cancelled.signal, reports };
  let code = 0;
  try {
    // The worker knows the time limit and reports TimedOut.
    const result = await execute(readParameters(), context, { isTimed: false });
    writeResult(resultFile, result);
  } catch (error) {
    code = cancelled.signal.aborted ? 143 : 1;
    if (code === 1) fail(error, resultFile);
  }
  const limitMs = cancelled.signal.aborted ? cancelledReportsMs : lastReportsMs;
  const late = new Promise<void>((resolve) => startTimer(limitMs, resolve));
  await Promise.race([reports?.flush(), late]);
  process.exit(code);
}

function readParameters(): Readonly<Record<string, unknown>> {
  const { LICTOR_PARAMETERS_FILE: file, PREFECT__PARAMETERS: text } = process.env;
  return JSON.parse(file ? readFileSync(file, "utf8") : (text ?? "{}")) as Record<string, unknown>;
}

/** What a flow returns is the message of its state, if it fits. */
function writeResult(file: string, result: unknown): void {
  if (result === undefined || result === null) return;
  const text = JSON.stringify(result);
  if (text !== undefined && Buffer.byteLength(text) <= maxResultBytes) writeFileSync(file, text);
}

function fail(error: unknown, resultFile: string): void {
  process.stderr.write(`${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
  // Source: prefect states.py exception_to_failed_state.
  const message = `Flow run encountered an exception: ${describe(error)}`.slice(0, maxResultBytes / 4);
  writeFileSync(resultFile, JSON.stringify({ message }));
}
