// Continues with a process that an earlier worker started, or was about to start.

import { AsyncDisposables } from "../../async/async-disposables.ts";
import { monotonicMs } from "../../async/clock.ts";
import { sleep } from "../../async/sleep.ts";
import type { OutputFiles, OutputLine } from "../../process/output-files.ts";
import { isSameProcess, readWorkingDirectory } from "../../process/process-identity.ts";
import {
  findStartedWith,
  flowRunVariable,
  readProcessVariables,
  wasStartedWith,
} from "../../process/read-process-environment.ts";
import { signalGroup } from "../../process/terminate.ts";
import type { LaunchFacts } from "../../program/launch.ts";
import type { Ending, Execution, Handle } from "../execution.ts";
import type { AdoptOptions, InfrastructureServices, RunFiles } from "../pool-type.ts";
import { openOutputFiles, outputIn, removeAll, toLineReader } from "./kept-files.ts";
import { type ProgramSession, processExecution, type RunningProgram, sendsHeartbeats } from "./process-execution.ts";
import { type ProcessFacts, readFacts, toHandle } from "./process-facts.ts";
import { openLostPlace } from "./process-hooks.ts";
import type { ProcessJob } from "./process-job.ts";
import { readRecordedEnd } from "./reported-program.ts";

/** How often an adopted process is looked at. It is no child, so the system does not tell its end. */
const lookMs = 500;
/** A shortage of file handles during this time is not taken for the end of the process. */
const shortageMs = 60_000;

/**
 * Returns the execution of a process that an earlier worker started. If no process is found, `ended` resolves at once, and
 * the execution only passes on the last lines and removes the temporary directories. Throws the system's error.
 */
export async function adoptProcess(
  services: InfrastructureServices,
  handle: Handle,
  options: AdoptOptions<ProcessJob>,
): Promise<Execution> {
  await using opened = new AsyncDisposables();
  const known = readFacts(handle);
  const pid = known?.identity ? await findByIdentity(handle, known) : await findByVariable(handle, options.flowRunId);
  const facts = known ?? (await guessFacts(services, options.flowRunId, pid));
  opened.add(() => removeAll(facts.temporary));
  const onLine = toLineReader(services, options, { isPrinted: !facts.isUnprinted });
  const output = facts.hasOutputFiles ? await reopenOutput(services, options, onLine) : null;
  if (output) opened.add(async () => await output[Symbol.asyncDispose]());
  // The engine's own variables are read while it lives, because hooks that run after its end need them.
  const env = pid === null ? null : await readProcessVariables(pid);
  const ran = { launch: facts.launch, cwd: facts.cwd, output: output ?? ("inherit" as const) };
  const over = new AbortController();
  opened.add(async () => over.abort());
  const execution = processExecution({
    handle: pid === null ? handle : toHandle(String(pid), facts),
    ended: adoptedEnd({ handle, pid, facts, known, output }, options, over.signal),
    leader: pid === null ? null : { pid },
    session: toSession(handle, pid, options.flowRunId),
    controlled: undefined,
    facts,
    openHookPlace: async (place) =>
      env ? { ...ran, env } : await openLostPlace(services, options, known && ran, place),
    services,
  } satisfies RunningProgram);
  return { ...execution, ...opened.move() };
}

/** Returns the pid of the handle if it still names the same process. */
async function findByIdentity({ identifier }: Handle, { identity }: ProcessFacts): Promise<number | null> {
  const pid = Number(identifier);
  return identity && (await isSameProcess(pid, identity)) ? pid : null;
}

/** Finds the process by the flow run's id in its environment. The leader of a group is the one that the worker started. */
async function findByVariable({ identifier }: Handle, flowRunId: string): Promise<number | null> {
  if (identifier !== "") {
    const pid = Number(identifier);
    return (await wasStartedWith(pid, flowRunVariable, flowRunId)) ? pid : null;
  }
  const pids = await findStartedWith(flowRunVariable, flowRunId);
  return pids.find((pid) => signalGroup(pid, 0)) ?? null;
}

/**
 * Returns the session of the process. If the process ended while no worker watched it, the number of the session may be
 * reused. Then the flow run's id in the environment of one of its processes is the proof.
 */
function toSession({ identifier }: Handle, pid: number | null, flowRunId: string): ProgramSession | null {
  if (pid !== null) return { id: pid, isOurs: async () => true };
  if (identifier === "") return null;
  return {
    id: Number(identifier),
    async isOurs(pids) {
      for (const each of pids) if (await wasStartedWith(each, flowRunVariable, flowRunId)) return true;
      return false;
    },
  };
}

/** Returns the facts of a process whose record lacks them, because the journal could not be written. */
async function guessFacts(
  services: InfrastructureServices,
  flowRunId: string,
  pid: number | null,
): Promise<ProcessFacts> {
  const python = await services.python();
  const launch: LaunchFacts = {
    runsHooks: { cancellation: false, crashed: true },
    cancelsItself: false,
    startsEngine: true,
    // It may be any program.
    reportsRunning: false,
    hookPython: python.kind === "found" ? [python.engine.python] : null,
    supervisorDirectory: null,
  };
  const cwd = (pid === null ? null : await readWorkingDirectory(pid)) ?? "/";
  return { flowRunId, temporary: [], cwd, hasOutputFiles: false, sendsHeartbeats: sendsHeartbeats(python), launch };
}

/** Returns how the program ends or has ended. The shell of a program that is no engine has recorded that. Never rejects. */
async function adoptedEnd(
  adopted: {
    handle: Handle;
    pid: number | null;
    facts: ProcessFacts;
    known: ProcessFacts | null;
    output: OutputFiles | null;
  },
  { directory }: RunFiles,
  over: AbortSignal,
): Promise<Ending> {
  const { handle, pid, facts, known, output } = adopted;
  const ending = pid === null ? null : await waitForEnd(pid, { facts, starter: "another worker" }, over);
  if (facts.programDirectory === undefined) return ending ?? notFound(handle, known?.launch.reportsRunning ?? true);
  if (!over.aborted) await output?.passOnAll();
  const recorded = await readRecordedEnd(directory);
  if (recorded === null || recorded === "began") return ending ?? notFound(handle, recorded === null);
  return recorded;
}

async function reopenOutput(
  services: InfrastructureServices,
  { flowRunId, directory, linesSettled: settled }: AdoptOptions<ProcessJob>,
  onLine: (line: OutputLine) => void,
): Promise<OutputFiles | null> {
  const path = outputIn(directory);
  if (path === null) return null;
  try {
    return await openOutputFiles(services, { flowRunId, directory: path, onLine, settled });
  } catch (error) {
    services.log.warn({ err: error, flow_run_id: flowRunId }, "The output of an adopted flow run cannot be read");
    return null;
  }
}

/**
 * Says what became of a program that is not found. An empty identifier means that the worker died close to the start.
 * `leavesTrace`: if the program began, there would be a trace: an engine reports Running before it begins.
 */
function notFound({ identifier }: Handle, leavesTrace: boolean): Ending {
  const wasStarted = identifier !== "";
  const why = wasStarted ? "ended while no worker watched it" : "was about to be started when its worker died";
  return {
    kind: "gone",
    why: `The flow run's process ${why}.`,
    mayHaveBegun: wasStarted || !leavesTrace,
  };
}

/**
 * Waits until a process that is no child of this one does not exist any more. `starter` is who started it. Never rejects.
 * Returns also when `over` aborts.
 */
export async function waitForEnd(
  pid: number,
  { facts, starter }: { facts: ProcessFacts; starter: string },
  over: AbortSignal,
): Promise<Ending> {
  let seenAt = monotonicMs();
  while (!over.aborted && monotonicMs() - seenAt < shortageMs) {
    try {
      if (!(await isAlive(pid, facts))) break;
      seenAt = monotonicMs();
    } catch {
      // The machine lacks something, for example file handles.
    }
    await sleep(lookMs, over);
  }
  const why = `The flow run's process ended. Its exit code is not known, because ${starter} had started it.`;
  return { kind: "gone", why, mayHaveBegun: true };
}

async function isAlive(pid: number, { flowRunId, identity }: ProcessFacts): Promise<boolean> {
  return identity ? await isSameProcess(pid, identity) : await wasStartedWith(pid, flowRunVariable, flowRunId);
}
