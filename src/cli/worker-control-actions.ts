// What `lictor worker status` and `lictor worker drain` do. They use the control sockets of the workers on this machine.
import { setTimeout as delay } from "node:timers/promises";
import { isListening, requestControl } from "../host/control-connection.ts";
import { findStateDirectory, type Instance, listInstances } from "../host/instances.ts";
import type { Status } from "../status/page/status-json.ts";
import { WorkerStartError } from "../worker/worker-start-error.ts";
import type { ProgramContext } from "./program-context.ts";
import { print, printJson } from "./terminal.ts";
import { workerTable } from "./worker-table.ts";

export { withProgram } from "./program-context.ts";

/** How often `--wait` checks whether the workers have ended. */
const waitIntervalMs = 500;

/** The programs of this host. Those that have ended are in neither list. */
interface Programs {
  responding: Responding[];
  silent: Silent[];
}

interface Responding extends Instance {
  status: Status;
}

/** A program that listens on its control socket and gives no useful response. */
interface Silent extends Instance {
  reason: string;
}

/** Prints the workers of this machine. Throws WorkerStartError if one does not respond. */
export async function showStatus(program: ProgramContext, isJson: boolean): Promise<void> {
  const { responding, silent } = await findPrograms(stateDirectoryOf(program));
  const statuses = responding.map(({ status }) => status);
  if (isJson) printJson(statuses);
  else if (statuses.length > 0) print(...workerTable(statuses));
  else if (silent.length === 0) print("No worker runs here.");
  throwIfAny(silent);
}

/** Lets workers of this machine drain. Throws WorkerStartError if there is none, or one does not respond. */
export async function drain(program: ProgramContext, pool: string | undefined, wait: boolean): Promise<void> {
  const stateDir = stateDirectoryOf(program);
  const { responding, silent } = await findPrograms(stateDir);
  const meant = responding.filter(
    ({ status }) => pool === undefined || status.workers.some(({ workPool }) => workPool === pool),
  );
  if (meant.length === 0 && silent.length === 0) {
    const ofPool = pool === undefined ? "" : ` of work pool '${pool}'`;
    throw new WorkerStartError(`No worker${ofPool} runs here (looked in ${stateDir}).`);
  }
  const failed = (await Promise.all(meant.map(requestDrain))).filter((failure) => failure !== null);
  if (wait) {
    const waited = meant.filter(({ directory }) => !failed.some((failure) => failure.directory === directory));
    await Promise.all(waited.map(({ directory }) => waitUntilEnded(directory)));
    if (waited.length > 0) print(waited.length === 1 ? "It has ended." : "All have ended.");
  }
  throwIfAny([...silent, ...failed]);
}

/** Lets a program drain and says so. Returns the failure, or null. A program that has just ended is no failure. */
async function requestDrain({ directory, pid, status }: Responding): Promise<Silent | null> {
  const response = await tryRequest(directory, "POST", "/drain");
  if (typeof response === "string") return { directory, pid, reason: response };
  print(
    response === null
      ? `${describeProgram(status)}: has ended.`
      : `${describeProgram(status)}: takes no new flow runs, waits for ${countFlowRuns(status)}.`,
  );
  return null;
}

/** Waits until nobody listens on the socket any more. Only then has the program ended. */
async function waitUntilEnded(directory: string): Promise<void> {
  const { signal } = new AbortController();
  while ((await isListening(directory, signal)) === "yes") await delay(waitIntervalMs);
}

async function findPrograms(stateDir: string): Promise<Programs> {
  const programs: Programs = { responding: [], silent: [] };
  await Promise.all(
    (await listInstances(stateDir)).map(async (instance) => {
      const response = await tryRequest(instance.directory, "GET", "/status");
      if (typeof response === "string") programs.silent.push({ ...instance, reason: response });
      else if (response) programs.responding.push({ ...instance, status: response });
    }),
  );
  programs.responding.sort((one, other) => one.status.host.startedAt - other.status.host.startedAt);
  programs.silent.sort((one, other) => one.pid - other.pid);
  return programs;
}

/** Returns the status in the response, null if the program has ended, or a text that says why there is no status. */
async function tryRequest(directory: string, method: string, path: string): Promise<Status | null | string> {
  try {
    const { status, body } = await requestControl(directory, method, path);
    return status < 300 ? (JSON.parse(body) as Status) : `responded with ${status}`;
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    return code === "ENOENT" || code === "ECONNREFUSED" || code === "ECONNRESET" ? null : (code ?? message);
  }
}

/** Throws an error with one line per program. */
function throwIfAny(silent: readonly Silent[]): void {
  if (silent.length === 0) return;
  const lines = silent.map(
    ({ pid, reason }) =>
      `The worker with pid ${pid} does not respond on its control socket (${reason}). See whether the process is stopped or busy.`,
  );
  throw new WorkerStartError(lines.join("\n"));
}

function stateDirectoryOf({ env, settings }: ProgramContext): string {
  const found = findStateDirectory(env, settings.values.PREFECT_HOME);
  if (found !== null) return found;
  throw new WorkerStartError("Workers cannot be found, because this user has no home directory. Set LICTOR_STATE_DIR.");
}

function describeProgram({ host, workers }: Status): string {
  return `Worker '${workers[0]?.name}' (pid ${host.pid}, ${workers.map(({ workPool }) => workPool).join(", ")})`;
}

function countFlowRuns({ workers }: Status): string {
  const count = workers.reduce((sum, worker) => sum + worker.inFlight.length, 0);
  return `${count} flow run${count === 1 ? "" : "s"}`;
}
