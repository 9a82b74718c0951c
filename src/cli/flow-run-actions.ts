// What `lictor flow-run …` does. Source: prefect cli/flow_run.py.
import { cancelFlowRun, readFlowNames, readFlowRun, readFlowRuns } from "../api/listings.ts";
import { levelNames, readLogPages, type StoredLogRecord } from "../api/logs.ts";
import { isStateType, type JsonObject, type State, stateTypes } from "../api/wire.ts";
import { wallClockMs } from "../async/clock.ts";
import { humanDifference } from "./human-time.ts";
import { openOperatorApi } from "./operator-api.ts";
import type { OutputOption } from "./options.ts";
import { printTable } from "./output.ts";
import type { ProgramContext } from "./program-context.ts";
import { print, printJson } from "./terminal.ts";

/** The options of `flow-run ls`. */
export interface FlowRunFilter {
  flowName?: string[];
  limit: number;
  state?: string[];
  stateType?: string[];
}

/** The options of `flow-run logs`. */
export interface LogRange {
  head: boolean;
  tail: boolean;
  reverse: boolean;
  numLogs?: number;
}

/** How many log records `--head` and `--tail` show. */
const shortRange = 20;

/** The names of states that Prefect itself gives. Users may write them in any case. */
const stateNames = [
  "Scheduled",
  "Pending",
  "Running",
  "Completed",
  "Failed",
  "Cancelled",
  "Crashed",
  "Paused",
  "Cancelling",
  "Suspended",
  "AwaitingRetry",
  "Retrying",
  "Late",
];

/** `flow-run ls`: prints flow runs, the newest first. Throws an Error for an unknown type of state. */
export async function listFlowRuns(program: ProgramContext, options: OutputOption & FlowRunFilter): Promise<void> {
  const criteria = { flowNames: options.flowName ?? [], state: stateFilter(program, options), limit: options.limit };
  using open = await openOperatorApi(program);
  const runs = await readFlowRuns(open.api, criteria);
  if (options.output === "json") return printJson(runs);
  if (runs.length === 0) return print("No flow runs found.");
  const flowNames = await readFlowNames(
    open.api,
    runs.map(({ flow_id }) => flow_id as string),
  );
  const now = wallClockMs();
  printTable(program, {
    title: "Flow Runs",
    columns: [
      { header: "ID", align: "right", colour: "cyan" },
      { header: "Flow", colour: "blue" },
      { header: "Name", colour: "green" },
      { header: "State" },
      { header: "When" },
    ],
    rows: runs
      .toSorted((one, other) => Date.parse(String(other.created)) - Date.parse(String(one.created)))
      .map(({ id, flow_id, name, state }) => [
        String(id),
        flowNames.get(flow_id as string) ?? "",
        String(name),
        (state as State | null)?.type ?? "",
        whenOf(state as State | null, now),
      ]),
  });
}

/** Returns when the state began, or for when it is scheduled. */
function whenOf(state: State | null, now: number): string {
  const time = state?.type === "SCHEDULED" ? state.state_details?.scheduled_time : state?.timestamp;
  return time ? humanDifference(Date.parse(time), now) : "";
}

function stateFilter({ logging }: ProgramContext, { state, stateType }: FlowRunFilter): JsonObject {
  const names = state?.map((given) => {
    const known = stateNames.find((name) => name.toUpperCase() === given.toUpperCase());
    if (!known) logging.logger.warn(`State name '${given}' is not one of the official Prefect state names.`);
    return known ?? given;
  });
  const types = stateType?.map((given) => given.toUpperCase());
  if (types && !types.every(isStateType)) {
    throw new Error(`Invalid state type. Options are ${stateTypes.join(", ")}.`);
  }
  return { ...(names && { name: { any_: names } }), ...(types && { type: { any_: types } }) };
}

/** `flow-run logs`: prints log records. Throws an Error if the flow run does not exist. */
export async function printLogs(program: ProgramContext, id: string, options: OutputOption & LogRange): Promise<void> {
  const { head, tail, reverse, numLogs, output } = options;
  if (head && tail) throw new Error("Please provide either a `head` or `tail` option but not both.");
  using open = await openOperatorApi(program);
  const flowRun = await readFlowRun(open.api, id);
  if (!flowRun) throw missing(id);
  const most = numLogs ?? (head || tail ? shortRange : Number.POSITIVE_INFINITY);
  const order = reverse || tail ? "TIMESTAMP_DESC" : "TIMESTAMP_ASC";
  const show = (records: readonly StoredLogRecord[]) =>
    print(...records.map((each) => logLine(String(flowRun.name), each)));
  const kept: StoredLogRecord[] = [];
  for await (const page of readLogPages(open.api, id, { order, most })) {
    if (output === "json" || tail) kept.push(...page);
    else show(page);
  }
  if (tail && !reverse) kept.reverse();
  if (output === "json") printJson(kept);
  else show(kept);
}

/** Returns a log record as Prefect prints it, with the time in UTC. */
function logLine(flowRunName: string, { timestamp, level, message }: StoredLogRecord): string {
  const time = new Date(timestamp).toISOString().replace("T", " ").replace("Z", "");
  return `${time} | ${(levelNames[level] ?? `Level ${level}`).padEnd(7)} | Flow run '${flowRunName}' - ${message}`;
}

/** `flow-run cancel`: asks the server to cancel. Throws an Error if the server refuses. */
export async function cancel(program: ProgramContext, id: string): Promise<void> {
  using open = await openOperatorApi(program);
  const decision = await cancelFlowRun(open.api, id);
  if (!decision) throw missing(id);
  if (decision.status === "ABORT") {
    throw new Error(`Flow run '${id}' was unable to be cancelled. Reason: '${decision.reason}'`);
  }
  print(`Flow run '${id}' was successfully scheduled for cancellation.`);
}

function missing(id: string): Error {
  return new Error(`Flow run '${id}' not found!`);
}
