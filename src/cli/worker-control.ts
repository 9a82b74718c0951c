// `lictor worker status` and `lictor worker drain`, which use the control sockets of the workers on this machine.
import { setTimeout as delay } from "node:timers/promises";
import type { Command } from "commander";
import { listInstances, requestControl, stateDirectory } from "../host/instances.ts";
import { formatDuration } from "../status/page/format.ts";
import type { Status, WorkerStatus } from "../status/page/status-json.ts";
import { WorkerStartError } from "../worker/worker-start-error.ts";
import { addCommand, profileOf } from "./options.ts";
import { type ProgramContext, withProgram } from "./program-context.ts";
import { print, printJson } from "./terminal.ts";

/** How often `--wait` checks whether the workers have ended. */
const waitIntervalMs = 500;

/** A program that responded on its control socket. */
interface RunningProgram {
  directory: string;
  status: Status;
}

/** Adds `status` and `drain` to the command group `worker`. */
export function addWorkerControl(worker: Command): void {
  addCommand(worker, "status", "Show the workers that run on this machine, and their flow runs.")
    .option("--json", "Print everything that the workers say, as JSON.", false)
    .action(async (_own: unknown, command: Command) => {
      await withProgram(profileOf(command), async (program) => {
        const found = await findRunning(program);
        if (command.opts().json) printJson(found.map(({ status }) => status));
        else print(...table(found));
      });
    });
  addCommand(worker, "drain", "Let workers of this machine take no new flow runs and end when theirs have ended.")
    .option("-p, --pool <pool>", "Only workers of this work pool.")
    .option("--wait", "Return when the workers have ended.", false)
    .action(async (_own: unknown, command: Command) => {
      const { pool, wait } = command.opts<{ pool?: string; wait: boolean }>();
      await withProgram(profileOf(command), async (program) => await drain(program, pool, wait));
    });
}

async function drain(program: ProgramContext, pool: string | undefined, wait: boolean): Promise<void> {
  const isSelected = ({ status }: RunningProgram): boolean =>
    pool === undefined || status.workers.some(({ workPool }) => workPool === pool);
  const found = (await findRunning(program)).filter(isSelected);
  if (found.length === 0) {
    const ofPool = pool === undefined ? "" : ` of work pool '${pool}'`;
    throw new WorkerStartError(`No worker${ofPool} runs here (looked in ${directoryOf(program)}).`);
  }
  for (const { directory, status } of found) {
    await requestControl(directory, "POST", "/drain");
    print(`${describeProgram(status)}: takes no new flow runs, waits for ${countFlowRuns(status)}.`);
  }
  if (!wait) return;
  await Promise.all(found.map(({ directory }) => waitUntilEnded(directory)));
  print(found.length === 1 ? "It has ended." : "All have ended.");
}

/** Waits until nothing listens on the control socket any more, because then the program has ended. */
async function waitUntilEnded(directory: string): Promise<void> {
  while (await tryReadStatus(directory)) await delay(waitIntervalMs);
}

async function findRunning(program: ProgramContext): Promise<RunningProgram[]> {
  const directories = await listInstances(directoryOf(program));
  const found = await Promise.all(
    directories.map(async (directory) => {
      const status = await tryReadStatus(directory);
      return status ? [{ directory, status }] : [];
    }),
  );
  return found.flat().sort((one, other) => one.status.host.startedAt - other.status.host.startedAt);
}

/**
 * Returns the status, or undefined if the program has ended. Throws WorkerStartError if the socket does not respond.
 */
async function tryReadStatus(directory: string): Promise<Status | undefined> {
  try {
    return JSON.parse((await requestControl(directory, "GET", "/status")).body) as Status;
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === "ENOENT" || code === "ECONNREFUSED" || code === "ECONNRESET") return undefined;
    throw new WorkerStartError(
      `The worker of ${directory} does not answer on its control socket (${code ?? message}).`,
    );
  }
}

function directoryOf({ env, settings }: ProgramContext): string {
  return stateDirectory(env, settings.values.PREFECT_HOME);
}

function describeProgram({ host, workers }: Status): string {
  return `Worker '${workers[0]?.name}' (pid ${host.pid}, ${workers.map(({ workPool }) => workPool).join(", ")})`;
}

function countFlowRuns({ workers }: Status): string {
  const count = workers.reduce((sum, worker) => sum + worker.inFlight.length, 0);
  return `${count} flow run${count === 1 ? "" : "s"}`;
}

const columns = ["PID", "WORKER", "POOL", "TYPE", "PHASE", "UP", "RUNS", "CLAIMED"];

function table(found: readonly RunningProgram[]): string[] {
  if (found.length === 0) return ["No worker runs here."];
  const rows = found.flatMap(({ status: { host, workers } }) =>
    workers.map((worker) => [
      String(host.pid),
      worker.name,
      worker.workPool,
      worker.type ?? "?",
      host.phase,
      formatDuration(host.now - host.startedAt, 0),
      String(worker.inFlight.length),
      String(worker.claimed),
    ]),
  );
  const runs = found.flatMap(({ status }) => status.workers.flatMap((worker) => flowRunRows(worker, status.host.now)));
  return [...align([columns, ...rows]), ...(runs.length > 0 ? ["", ...align(runs)] : [])];
}

/** Returns the flow runs of a worker, one per row. */
function flowRunRows({ workPool, inFlight: runs }: WorkerStatus, now: number): string[][] {
  return runs.map(({ name, state, since, identifier }) => [
    `  ${name}`,
    workPool,
    state.name,
    formatDuration(now - since, 0),
    identifier === null ? "" : `process ${identifier}`,
  ]);
}

function align(rows: readonly (readonly string[])[]): string[] {
  const widths = rows[0]?.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0))) ?? [];
  return rows.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join("  ")
      .trimEnd(),
  );
}
