// Work pools of type `process`: a flow run is a child process in a process group of its own.
// Source: prefect workers/process.py, runner/_starter_engine.py.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import type { PythonFinding } from "../../engine/find-python.ts";
import { chooseLaunch, type Launch } from "../../engine/launch.ts";
import { withoutNothing } from "../../job/environment.ts";
import { ControlChannel, type ControlledChild } from "../../process/control-channel.ts";
import { startProcess } from "../../process/start-process.ts";
import type { Execution, Infrastructure, InfrastructureServices, PoolType, StartOptions } from "../pool-type.ts";
import { findAbandonedProcess } from "./abandoned-process.ts";
import { processBaseJobTemplate } from "./base-job-template.ts";
import { processExecution } from "./process-execution.ts";
import { type ProcessJob, toProcessJob } from "./process-job.ts";

/** The type `process`. */
export const processPoolType: PoolType = {
  name: "process",
  baseJobTemplate: processBaseJobTemplate,
  open: openProcesses,
};

async function openProcesses(services: InfrastructureServices): Promise<Infrastructure<ProcessJob>> {
  const control = await tryOpenControlChannel(services);
  return {
    toJob: toProcessJob,
    obstacle: async (readJob) => await findObstacle(await services.python(), readJob),
    start: (job, options) => start(services, control, job, options),
    adopt: findAbandonedProcess,
    integrations: async () => integrationsOf(await services.python()),
    [Symbol.dispose]: () => control?.[Symbol.dispose](),
  };
}

/** Without the control channel a flow run can still be cancelled; its engine then takes that for a crash. */
async function tryOpenControlChannel({ log }: InfrastructureServices): Promise<ControlChannel | null> {
  try {
    return await ControlChannel.open();
  } catch (error) {
    const effect = "engines are not told of cancellations";
    log.warn({ err: error }, `Failed to bind control channel listener on loopback; ${effect}`);
    return null;
  }
}

/** Without a Python only a command can be started. Other flow runs are left to other workers. */
async function findObstacle(python: PythonFinding, readJob: () => Promise<ProcessJob>): Promise<string | null> {
  if (python.kind === "found") return null;
  return (await readJob()).program.command === null ? python.message : null;
}

function integrationsOf(python: PythonFinding): { name: string; version: string }[] {
  return python.kind === "found" ? [...python.engine.integrations] : [];
}

async function start(
  services: InfrastructureServices,
  control: ControlChannel | null,
  job: ProcessJob,
  { flowRunId, onHandle }: StartOptions,
): Promise<Execution> {
  const { command, env: programEnv } = job.program;
  const workspace = await makeWorkspace(job);
  const controlled = control?.register();
  let launch: Launch | undefined;
  const clearAway = async (): Promise<void> => {
    controlled?.[Symbol.dispose]();
    await workspace[Symbol.asyncDispose]();
    await launch?.[Symbol.asyncDispose]();
  };
  try {
    const { path: cwd } = workspace;
    const env = { ...withoutNothing(services.environment), ...programEnv };
    const python = await services.python();
    launch = await chooseLaunch({ python, command, flowRunId, cwd, env });
    const surroundings = {
      cwd,
      env: { ...env, ...childVariables(launch, controlled) },
      streamOutput: job.streamOutput,
    };
    const child = await startProcess({ argv: launch.argv, ...surroundings });
    const execution = processExecution({
      child,
      controlled,
      launch,
      surroundings,
      python,
      flowRunId,
      log: services.log,
    });
    await onHandle(execution.handle);
    return { ...execution, [Symbol.asyncDispose]: clearAway };
  } catch (error) {
    await clearAway();
    throw error;
  }
}

function childVariables(launch: Launch, controlled: ControlledChild | undefined): Record<string, string> {
  return { ...controlled?.environment, PREFECT__ENABLE_CANCELLATION_AND_CRASHED_HOOKS: String(launch.engineRunsHooks) };
}

interface Workspace extends AsyncDisposable {
  /** Absolute. */
  readonly path: string;
}

async function makeWorkspace({ workingDirectory }: ProcessJob): Promise<Workspace> {
  if (workingDirectory !== null) return { path: resolve(workingDirectory), [Symbol.asyncDispose]: async () => {} };
  const path = await mkdtemp(join(tmpdir(), "lictor-flow-run-"));
  // Best effort: what a grandchild still writes there keeps the directory alive.
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }).catch(() => {}) };
}
