// Work pools of type `process`: a flow run is a child process in a process group of its own.
// Source: prefect workers/process.py, runner/_starter_engine.py.
import { resolve } from "node:path";
import type { JsonObject } from "../../api/wire.ts";
import { AsyncDisposables } from "../../async/async-disposables.ts";
import { omitUnset } from "../../job/flow-run-environment.ts";
import { environmentField, textField } from "../../job/typed-fields.ts";
import { ControlChannel } from "../../process/control-channel.ts";
import { identifyProcess, type ProcessIdentity } from "../../process/process-identity.ts";
import { describeLostVariables } from "../../process/raw-environment.ts";
import { type ChildOutput, type StartOptions as ProcessStart, startProcess } from "../../process/start-process.ts";
import { explainShortage, ShortageError, systemCode } from "../../process/system-errors.ts";
import {
  findTemporaryDirectory,
  makeTemporaryDirectory,
  type TemporaryDirectoryFinding,
} from "../../process/temporary-directory.ts";
import type { ForkedProcess } from "../../program/fork-server.ts";
import { logBatchVariables } from "../../program/log-batch-size.ts";
import type { Execution } from "../execution.ts";
import type { Infrastructure, InfrastructureServices, PoolType, RunAccess, StartOptions } from "../pool-type.ts";
import { findAbandonedProcess } from "./abandoned-process.ts";
import { adoptProcess, waitForEnd } from "./adopt-process.ts";
import { processBaseJobTemplate } from "./base-job-template.ts";
import { openOutputFiles, outputIn, removeAll, toLineReader } from "./kept-files.ts";
import { prepareEngine, prepareReported, type StartPlace } from "./prepare-start.ts";
import { logMissingDirectory, logUnkeptOutput } from "./problem-logs.ts";
import { processExecution, toEnding } from "./process-execution.ts";
import { type ProcessFacts, toHandle } from "./process-facts.ts";
import { hookRunner, openLostPlace } from "./process-hooks.ts";
import { type ProcessJob, toProcessJob } from "./process-job.ts";
import { WarmEngines } from "./warm-engines.ts";

/** The type `process`. */
export const processPoolType: PoolType = {
  name: "process",
  isLocal: true,
  baseJobTemplate: processBaseJobTemplate,
  open: openProcesses,
};

async function openProcesses(services: InfrastructureServices): Promise<Infrastructure<ProcessJob>> {
  let opening: Promise<ControlChannel | null> | undefined;
  // A worker polls before it needs the channel.
  const openControl = (): Promise<ControlChannel | null> => {
    opening ??= tryOpenControlChannel(services);
    return opening;
  };
  const logDirectory = logMissingDirectory(services.log);
  const lost = await describeLostVariables(services.environment);
  if (lost !== null) services.log.warn(lost);
  const logUnkept = logUnkeptOutput(services.log);
  const warm = services.warmEngines && new WarmEngines(services.warmEngines, services.log);
  return {
    toJob: toProcessJob,
    obstacle: (readJob) => findObstacle(services, logDirectory, readJob),
    start: async (job, options) => {
      try {
        return await start(services, { control: await openControl(), warm, logUnkept }, job, options);
      } catch (error) {
        throw explainShortage(error);
      }
    },
    adopt: (handle, options) => adoptProcess(services, handle, options),
    hooksOfLost: (lost) =>
      hookRunner(services, lostRunsItself, (opened) => openLostPlace(services, lost, null, opened)),
    findAbandoned: findAbandonedProcess,
    // A process has no labels, so only the journal knows of it.
    findStarted: async () => [],
    integrations: () => readIntegrations(services),
    prepare: async (fields) => {
      await openControl();
      await prepareEngines(services, warm, fields);
    },
    expect: () => warm?.expect(),
    [Symbol.dispose]() {
      warm?.[Symbol.dispose]();
      void opening?.then((channel) => channel?.[Symbol.dispose]());
    },
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

/** Imports the engine before the first flow run comes, unless the flow runs of the pool have a command. */
async function prepareEngines(
  services: InfrastructureServices,
  warm: WarmEngines | null,
  fields: JsonObject,
): Promise<void> {
  if (warm === null || warm.options.isLazy || textField("command", fields.command)) return;
  const python = await services.python();
  if (python.kind === "missing") return;
  const output = services.onOutput ? "ignore" : "inherit";
  const workerEnv = services.processEnvironment();
  const env = omitUnset({ ...workerEnv, ...environmentField(fields.env) });
  const variables = await logBatchVariables({ command: null, cwd: "/proc", env, workerEnv });
  warm.prepare({ python: python.engine.python, env: { ...env, ...variables }, output });
}

/** Whether it ran hooks before it was lost is not known. An engine runs those of a crash that it reports itself. */
const lostRunsItself = { cancellation: false, crashed: true };

/** What all flow runs share. */
interface Shared {
  readonly control: ControlChannel | null;
  /** Null if each engine gets a new Python. */
  readonly warm: WarmEngines | null;
  readonly logUnkept: ReturnType<typeof logUnkeptOutput>;
}

async function start(
  services: InfrastructureServices,
  { control, warm, logUnkept }: Shared,
  job: ProcessJob,
  options: StartOptions,
): Promise<Execution> {
  const { flowRunId, directory, onHandle } = options;
  await using opened = new AsyncDisposables();
  const temporary: string[] = [];
  opened.add(() => removeAll(temporary));
  const makeTemporary = async (prefix: string): Promise<string> => {
    const path = await makeTemporaryDirectory(prefix, services.processEnvironment());
    temporary.push(path);
    return path;
  };
  const { program } = job;
  const controlled = program.reporter === "engine" ? control?.register() : undefined;
  if (controlled) opened.add(async () => controlled[Symbol.dispose]());
  const { workingDirectory } = job;
  const cwd = workingDirectory === null ? await makeTemporary("lictor-flow-run-") : resolve(workingDirectory);
  const output =
    job.streamOutput || options.onLine
      ? await openOutput(services, job, options, { makeTemporary, logUnkept })
      : "ignore";
  if (typeof output !== "string") opened.add(async () => await output[Symbol.asyncDispose]());
  const env = { ...omitUnset(services.environment), ...program.env };
  const prepared = { directory, cwd, env, makeTemporary, controlled };
  const { argv, enginePython, variables, programDirectory, sendsHeartbeats, launch } =
    program.reporter === "worker"
      ? await prepareReported(program, prepared)
      : await prepareEngine(services, program, { ...prepared, flowRunId });
  const facts: ProcessFacts = {
    flowRunId,
    temporary,
    cwd,
    hasOutputFiles: typeof output !== "string",
    isUnprinted: !job.streamOutput,
    ...(programDirectory !== undefined && { programDirectory }),
    sendsHeartbeats,
    launch,
  };
  await onHandle(toHandle("", facts));
  const place = { cwd, env: { ...env, ...variables }, output };
  const started = await startProgram(warm, { argv, ...place }, { python: enginePython, flowRunId });
  const known: ProcessFacts = { ...facts, identity: await tryIdentify(started.pid) };
  const handle = toHandle(String(started.pid), known);
  await onHandle(handle);
  started.go();
  const over = new AbortController();
  opened.add(async () => over.abort());
  const ended = started.exited.then(async (exit) => {
    if (options.onLine && typeof output !== "string") await output.passOnAll();
    return exit
      ? toEnding(exit, controlled, facts)
      : await waitForEnd(started.pid, { facts: known, starter: "lictor's fork server" }, over.signal);
  });
  const execution = processExecution({
    ...{ handle, ended, leader: started, controlled, facts, services },
    openHookPlace: async () => ({ launch, ...place }),
    session: { id: started.pid, isOurs: async () => true },
  });
  return { ...execution, ...opened.move() };
}

/** Forks an engine if that is possible; otherwise starts a new process. A forked engine waits for `go`. */
async function startProgram(
  warm: WarmEngines | null,
  program: ProcessStart,
  { python, flowRunId }: { python: string | null; flowRunId: string },
): Promise<ForkedProcess> {
  const forked = python === null ? null : ((await warm?.start({ python, flowRunId, ...program })) ?? null);
  return forked ?? { ...(await startProcess(program)), go: () => {} };
}

/** Returns null if the machine lacks something now. Then the flow run's id in the environment is the only proof. */
async function tryIdentify(pid: number): Promise<ProcessIdentity | null> {
  return await identifyProcess(pid).catch(() => null);
}

/**
 * Opens the files for the flow run's output, if possible in its own directory, where the next worker finds them. Throws
 * ShortageError for a shortage other than of disk space, because then the program could not be started either.
 */
async function openOutput(
  services: InfrastructureServices,
  { streamOutput: isPrinted }: ProcessJob,
  access: RunAccess,
  { makeTemporary, logUnkept }: Pick<Shared, "logUnkept"> & Pick<StartPlace, "makeTemporary">,
): Promise<ChildOutput> {
  if (!services.onOutput && !access.onLine) return "inherit";
  const { flowRunId } = access;
  try {
    const directory = outputIn(access.directory) ?? (await makeTemporary("lictor-output-"));
    const onLine = toLineReader(services, access, { isPrinted });
    const files = await openOutputFiles(services, { flowRunId, directory, onLine, settled: access.linesSettled });
    logUnkept(null);
    return files;
  } catch (error) {
    const isDiskFull = ["ENOSPC", "EDQUOT"].includes(systemCode(error) ?? "");
    if (!isDiskFull && explainShortage(error) instanceof ShortageError) throw error;
    // The flow run starts without its output files, because that is better than not to start.
    logUnkept(error);
    return "inherit";
  }
}
