// Work pools of type `process`: a flow run is a child process in a process group of its own.
// Source: prefect workers/process.py, runner/_starter_engine.py.
import { rm } from "node:fs/promises";
import { resolve } from "node:path";
import { omitUnset } from "../../job/flow-run-environment.ts";
import { ControlChannel, type ControlledChild } from "../../process/control-channel.ts";
import { OutputFiles } from "../../process/output-files.ts";
import { type ChildOutput, startProcess } from "../../process/start-process.ts";
import {
  findTemporaryDirectory,
  makeTemporaryDirectory,
  type TemporaryDirectoryFinding,
} from "../../process/temporary-directory.ts";
import { chooseLaunch } from "../../program/choose-launch.ts";
import type { Launch } from "../../program/launch.ts";
import type { Execution, Infrastructure, InfrastructureServices, PoolType, StartOptions } from "../pool-type.ts";
import { findAbandonedProcess } from "./abandoned-process.ts";
import { processBaseJobTemplate } from "./base-job-template.ts";
import { logMissingDirectory } from "./missing-directory-log.ts";
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
  const logDirectory = logMissingDirectory(services.log);
  return {
    toJob: toProcessJob,
    obstacle: (readJob) => findObstacle(services, logDirectory, readJob),
    start: (job, options) => start(services, control, job, options),
    adopt: findAbandonedProcess,
    integrations: () => readIntegrations(services),
    [Symbol.dispose]: () => control?.[Symbol.dispose](),
  };
}

/** Returns null if the channel cannot be opened. Then flow runs can be cancelled, but their engines report a crash. */
async function tryOpenControlChannel({ log }: InfrastructureServices): Promise<ControlChannel | null> {
  try {
    return await ControlChannel.open();
  } catch (error) {
    const effect = "engines are not told of cancellations";
    log.warn({ err: error }, `Failed to bind control channel listener on loopback; ${effect}`);
    return null;
  }
}

/**
 * Returns why a flow run cannot start here, or null. Without a directory for temporary files nothing can start. Without a
 * Python only a command can start; the search for it logs that itself.
 */
async function findObstacle(
  { python, processEnvironment }: InfrastructureServices,
  logDirectory: (finding: TemporaryDirectoryFinding) => void,
  readJob: () => Promise<ProcessJob>,
): Promise<string | null> {
  const temporary = await findTemporaryDirectory(processEnvironment());
  logDirectory(temporary);
  if (temporary.kind === "none") return temporary.message;
  const finding = await python();
  if (finding.kind === "found") return null;
  return (await readJob()).program.command === null ? finding.message : null;
}

async function readIntegrations({ python }: InfrastructureServices): Promise<{ name: string; version: string }[]> {
  const finding = await python();
  return finding.kind === "found" ? [...finding.engine.integrations] : [];
}

async function start(
  services: InfrastructureServices,
  control: ControlChannel | null,
  job: ProcessJob,
  { flowRunId, onHandle }: StartOptions,
): Promise<Execution> {
  await using opened = new AsyncDisposables();
  const makeTemporary = (prefix: string): Promise<string> =>
    makeTemporaryDirectory(prefix, services.processEnvironment());
  const controlled = control?.register();
  if (controlled) opened.add(async () => controlled[Symbol.dispose]());
  const cwd = await openWorkingDirectory(job, makeTemporary, opened);
  const output = job.streamOutput ? await openOutput(services, flowRunId, makeTemporary) : "ignore";
  if (typeof output !== "string") opened.add(async () => await output[Symbol.asyncDispose]());
  const env = { ...omitUnset(services.environment), ...job.program.env };
  const python = await services.python();
  const launch = await chooseLaunch({ python, command: job.program.command, flowRunId, cwd, env, makeTemporary });
  opened.add(async () => await launch[Symbol.asyncDispose]());
  const childOptions = { cwd, env: { ...env, ...childVariables(launch, controlled) }, output };
  const child = await startProcess({ argv: launch.argv, ...childOptions });
  const execution = processExecution({ child, controlled, launch, childOptions, python, flowRunId, services });
  await onHandle(execution.handle);
  return { ...execution, ...opened.move() };
}

function childVariables(launch: Launch, controlled: ControlledChild | undefined): Record<string, string> {
  const ownsHooks = String(launch.runsHooks.cancellation);
  return { ...controlled?.environment, PREFECT__ENABLE_CANCELLATION_AND_CRASHED_HOOKS: ownsHooks };
}

/** Returns the absolute path of the working directory. A temporary one is removed at the end. */
async function openWorkingDirectory(
  { workingDirectory }: ProcessJob,
  makeTemporary: (prefix: string) => Promise<string>,
  opened: AsyncDisposables,
): Promise<string> {
  if (workingDirectory !== null) return resolve(workingDirectory);
  const path = await makeTemporary("lictor-flow-run-");
  // Best effort, because a grandchild may still write there and so prevent the removal.
  opened.add(() => rm(path, { recursive: true, force: true }).catch(() => {}));
  return path;
}

async function openOutput(
  { onOutput, log }: InfrastructureServices,
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
    // The flow run starts without JSON output, because that is better than not to start.
    log.warn({ err: error, flow_run_id: flowRunId }, "The flow run's output is not passed on as JSON");
    return "inherit";
  }
}

/** Disposes in reverse order. Node.js 20 has no AsyncDisposableStack. */
class AsyncDisposables implements AsyncDisposable {
  #dispose: (() => Promise<void>)[] = [];

  add(dispose: () => Promise<void>): void {
    this.#dispose.unshift(dispose);
  }

  /** Moves all into the returned object, which disposes of them from now on. */
  move(): AsyncDisposable {
    const moved = new AsyncDisposables();
    moved.#dispose = this.#dispose;
    this.#dispose = [];
    return { [Symbol.asyncDispose]: async () => await moved[Symbol.asyncDispose]() };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const dispose of this.#dispose) await dispose();
  }
}
