// `lictor worker status` and `lictor worker drain`: the running workers of this machine, over their control sockets.
import { setTimeout as delay } from "node:timers/promises";
import type { Command } from "commander";
import { listInstances, requestControl, stateDirectory } from "../host/instances.ts";
import { formatDuration } from "../status/page/format.ts";
import type { Status, WorkerStatus } from "../status/page/status-json.ts";
import { WorkerStartError } from "../worker/worker-start-error.ts";
import { addCommand, profileOf } from "./options.ts";
import { type ProgramContext, withProgram } from "./program-context.ts";
import { say, sayJson } from "./terminal.ts";

/** How often `--wait` looks whether the workers have ended. */
const waitIntervalMs = 500;

/** A program that answered. */
interface Found {
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
        if (command.opts().json) sayJson(found.map(({ status }) => status));
        else say(...table(found));
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
  const isMeant = ({ status }: Found): boolean =>
    pool === undefined || status.workers.some(({ workPool }) => workPool === pool);
  const found = (await findRunning(program)).filter(isMeant);
  if (found.length === 0) {
    const ofPool = pool === undefined ? "" : ` of work pool '${pool}'`;
    throw new WorkerStartError(`No worker${ofPool} runs here (looked in ${directoryOf(program)}).`);
  }
  for (const { directory, status } of found) {
    await requestControl(directory, "POST", "/drain");
    say(`${describe(status)}: takes no new flow runs, waits for ${inFlight(status)}.`);
  }
  if (!wait) return;
  await Promise.all(found.map(({ directory }) => untilEnded(directory)));
  say(found.length === 1 ? "It has ended." : "All have ended.");
}

/** A socket that nobody listens on any more is that of a program that has ended. */
async function untilEnded(directory: string): Promise<void> {
  while (await tryReadStatus(directory)) await delay(waitIntervalMs);
}

async function findRunning(program: ProgramContext): Promise<Found[]> {
  const directories = await listInstances(directoryOf(program));
  const found = await Promise.all(
    directories.map(async (directory) => {
      const status = await tryReadStatus(directory);
      return status ? [{ directory, status }] : [];
    }),
  );
  return found.flat().sort((one, other) => one.status.host.startedAt - other.status.host.startedAt);
}

/** Undefined for a program that has ended. Throws what else keeps its socket from answering. */
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

function describe({ host, workers }: Status): string {
  return `Worker '${workers[0]?.name}' (pid ${host.pid}, ${workers.map(({ workPool }) => workPool).join(", ")})`;
}

function inFlight({ workers }: Status): string {
  const count = workers.reduce((sum, worker) => sum + worker.inFlight.length, 0);
  return `${count} flow run${count === 1 ? "" : "s"}`;
}

const columns = ["PID", "WORKER", "POOL", "TYPE", "PHASE", "UP", "RUNS", "CLAIMED"];

function table(found: readonly Found[]): string[] {
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
  const runs = found.flatMap(({ status }) => status.workers.flatMap((worker) => runLines(worker, status.host.now)));
  return [...align([columns, ...rows]), ...(runs.length > 0 ? ["", ...align(runs)] : [])];
}

/** The flow runs of a worker, one a line. */
function runLines({ workPool, inFlight: runs }: WorkerStatus, now: number): string[][] {
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
