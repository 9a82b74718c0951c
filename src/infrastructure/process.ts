// The work pool type `process`: a flow run is a child process in a process group of its own.
// Source: prefect workers/process.py, runner/_starter_engine.py.
import { rm } from "node:fs/promises";
import { resolve } from "node:path";
import { isStateType } from "../api/wire.ts";
import { waitAtMost } from "../async/sleep.ts";
import type { PythonFinder } from "../engine/find-python.ts";
import { reachesSameServer } from "../engine/hook-script.ts";
import { chooseLaunch, type Launch } from "../engine/launch.ts";
import type { HookCall } from "../engine/run-hooks.ts";
import type { Logger } from "../logger.ts";
import type { ControlChannel, ControlledChild } from "../process/control-channel.ts";
import { OutputFiles, type OutputLine } from "../process/output-files.ts";
import { wasStartedWith } from "../process/process-environment.ts";
import { type ChildOutput, type ProcessExit, type StartedProcess, startProcess } from "../process/start-process.ts";
import { makeTemporaryDirectory } from "../process/temporary-directory.ts";
import { signalGroup, terminate, terminateGraceMs } from "../process/terminate.ts";
import { processBaseJobTemplate } from "../run/base-job-template.ts";
import { splitCommand } from "../run/command.ts";
import type { JobConfiguration } from "../run/job-configuration.ts";
import type { InfrastructureEnd, PoolType, StartedInfrastructure } from "./infrastructure.ts";

/** What processes are started with; `python` runs the engine of every flow run without a command of its own. */
export interface ProcessDependencies {
  python: PythonFinder;
  /** Null where no loopback port can be listened on: then engines are not told why they are ended. */
  control: ControlChannel | null;
  /** The environment of a process whose flow run adds nothing to the worker's own. */
  environment: () => Readonly<Record<string, string | undefined>>;
  log: Logger;
  /** Takes the lines that flow runs print; null where they go straight to lictor's own output. */
  onOutput: ((flowRunId: string, line: OutputLine) => void) | null;
}

/** `prefect flow-run execute` may ask for cancellations every 10 s only, grants its engine 30 s, and then runs hooks. */
const selfCancelMs = 10_000 + terminateGraceMs + 20_000;

/** The type `process`. */
export function processPoolType(dependencies: ProcessDependencies): PoolType {
  return {
    name: "process",
    baseJobTemplate: processBaseJobTemplate,
    start: (job, flowRunId) => start(dependencies, job, flowRunId),
    endAbandoned,
  };
}

async function start(
  dependencies: ProcessDependencies,
  job: JobConfiguration,
  flowRunId: string,
): Promise<StartedInfrastructure> {
  const command = job.command === null ? null : splitCommand(job.command);
  const makeTemporary = (prefix: string) => makeTemporaryDirectory(prefix, dependencies.environment());
  const temporary = job.working_dir === null ? await makeTemporary("lictor-flow-run-") : undefined;
  const cwd = temporary ?? resolve(job.working_dir ?? ".");
  const control = dependencies.control?.register();
  let launch: Launch | undefined;
  let output: ChildOutput = "ignore";
  const clearAway = async (): Promise<void> => {
    control?.[Symbol.dispose]();
    // Best effort: what a grandchild still writes there keeps it alive.
    if (typeof output !== "string") await output[Symbol.asyncDispose]();
    if (temporary) await rm(temporary, { recursive: true, force: true }).catch(() => {});
    await launch?.[Symbol.asyncDispose]();
  };
  try {
    if (job.stream_output) output = await openOutput(dependencies, flowRunId, makeTemporary);
    const python = await dependencies.python.current();
    launch = await chooseLaunch({ python, command, flowRunId, cwd, env: job.env, makeTemporary });
    const surroundings = {
      cwd,
      env: { ...job.env, ...control?.environment, ...hookOwner(launch) },
      output,
    };
    const child = await startProcess({ argv: launch.argv, ...surroundings });
    const hooks = launch;
    return {
      ...endable(child, control, launch),
      identifier: String(child.pid),
      engineRunsHooks: launch.engineRunsHooks,
      exited: child.exited.then((exit) => withConclusion(exit, control)),
      runHooks: async (kind, flowRun, state, leave) =>
        await tryHooks(
          hooks,
          {
            ...{ kind, flowRun, state, leave, ...surroundings },
            end: leave,
            serverIsKnown: reachesSameServer(job.env, dependencies.environment()),
          },
          dependencies.log,
        ),
      [Symbol.asyncDispose]: clearAway,
    };
  } catch (error) {
    await clearAway();
    throw error;
  }
}

async function openOutput(
  { onOutput, log }: ProcessDependencies,
  flowRunId: string,
  makeTemporary: (prefix: string) => Promise<string>,
): Promise<ChildOutput> {
  if (!onOutput) return "inherit";
  const onError = (error: unknown): void => {
    log.warn({ err: error, flow_run_id: flowRunId }, "The flow run's output cannot be read any more");
  };
  try {
    const directory = await makeTemporary("lictor-output-");
    return await OutputFiles.open(directory, (line) => onOutput(flowRunId, line), onError);
  } catch (error) {
    // Lines that are no JSON are better than a flow run that does not start.
    log.warn({ err: error, flow_run_id: flowRunId }, "The flow run's output is not passed on as JSON");
    return "inherit";
  }
}

/** Any program can connect in the engine's place: a type that is none is not taken for one. */
function withConclusion(exit: ProcessExit, control: ControlledChild | undefined): InfrastructureEnd {
  const { type, name } = control?.reported ?? {};
  const reported = isStateType(type) && name !== undefined ? { type, name } : null;
  return { ...exit, isConcluded: control?.conclusion !== undefined, reported };
}

function hookOwner({ engineRunsHooks }: Launch): Record<string, string> {
  return { PREFECT__ENABLE_CANCELLATION_AND_CRASHED_HOOKS: String(engineRunsHooks) };
}

function endable(
  child: StartedProcess,
  control: ControlledChild | undefined,
  { cancelsItself }: Launch,
): Pick<StartedInfrastructure, "terminate" | "cancel"> {
  return {
    terminate: (now) => terminate(child, terminateGraceMs, now),
    async cancel(now) {
      if ((await control?.tell("cancel")) === "already concluded") return "already concluded";
      if (cancelsItself) await waitAtMost(child.exited, selfCancelMs, now);
      await terminate(child, terminateGraceMs, now);
      return "ended";
    },
  };
}

async function endAbandoned(flowRunId: string, identifier: string, now: AbortSignal): Promise<boolean> {
  const pid = Number(/^\d+$/.exec(identifier)?.[0]);
  // To signal the group of process 1 is to signal every process there is.
  if (!(pid > 1) || !(await wasStartedWith(pid, "PREFECT__FLOW_RUN_ID", flowRunId))) return false;
  // In the group of somebody else, as Prefect's worker starts commands, it is not to be ended by it.
  if (!signalGroup(pid, 0)) return false;
  await terminate({ pid }, terminateGraceMs, now);
  return true;
}

async function tryHooks(launch: Launch, call: HookCall, log: Logger): Promise<void> {
  try {
    await launch.runHooks(call);
  } catch (error) {
    const { id } = call.flowRun;
    log.warn(
      { err: error, flow_run_id: id },
      `Runner failed to retrieve flow to execute on_${call.kind} hooks for flow run '${id}'.`,
    );
  }
}
