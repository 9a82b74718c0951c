// The work pool type `process`: a flow run is a child process in a process group of its own.
// Source: prefect workers/process.py, runner/_starter_engine.py.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { isStateType } from "../api/wire.ts";
import type { PythonFinding } from "../engine/find-python.ts";
import { isAtLeast } from "../engine/prefect-release.ts";
import { type HookKind, runHooks } from "../engine/run-hooks.ts";
import type { Logger } from "../logger.ts";
import type { ControlChannel, ControlledChild } from "../process/control-channel.ts";
import { type ProcessExit, type StartedProcess, startProcess } from "../process/start-process.ts";
import { terminate, terminateGraceMs } from "../process/terminate.ts";
import { processBaseJobTemplate } from "../run/base-job-template.ts";
import { engineCommand, splitCommand } from "../run/command.ts";
import type { JobConfiguration } from "../run/job-configuration.ts";
import type { InfrastructureEnd, PoolType, StartedInfrastructure } from "./infrastructure.ts";

/** What processes are started with; `python` runs the engine of every flow run without a command of its own. */
export interface ProcessDependencies {
  python: Promise<PythonFinding>;
  /** Null where no loopback port can be listened on: then engines are not told why they are ended. */
  control: ControlChannel | null;
  log: Logger;
}

/** Engines since this release listen to the control channel; older ones take every SIGTERM for a crash. */
const controlledSince = "3.6.27";

/** The type `process`. */
export function processPoolType(dependencies: ProcessDependencies): PoolType {
  return {
    name: "process",
    baseJobTemplate: processBaseJobTemplate,
    start: (job, flowRunId) => start(dependencies, job, flowRunId),
  };
}

async function start(
  dependencies: ProcessDependencies,
  job: JobConfiguration,
  flowRunId: string,
): Promise<StartedInfrastructure> {
  const python = await dependencies.python;
  const argv = job.command === null ? engineCommand(pathOf(python)) : splitCommand(job.command);
  const temporary = job.working_dir === null ? await mkdtemp(join(tmpdir(), "lictor-flow-run-")) : undefined;
  const control = dependencies.control?.register();
  const surroundings = {
    cwd: temporary ?? resolve(job.working_dir ?? "."),
    env: { ...job.env, ...control?.environment, ...hookOwner(python) },
    streamOutput: job.stream_output,
  };
  const clearAway = async (): Promise<void> => {
    control?.[Symbol.dispose]();
    // Best effort: what a grandchild still writes there keeps it alive.
    if (temporary) await rm(temporary, { recursive: true, force: true }).catch(() => {});
  };
  try {
    const child = await startProcess({ argv, ...surroundings });
    return {
      ...endable(child, control),
      identifier: String(child.pid),
      exited: child.exited.then((exit) => withConclusion(exit, control)),
      runHooks: (kind) => tryHooks(dependencies, { kind, flowRunId, ...surroundings }),
      [Symbol.asyncDispose]: clearAway,
    };
  } catch (error) {
    await clearAway();
    throw error;
  }
}

/** Any program can connect in the engine's place: a type that is none is not taken for one. */
function withConclusion(exit: ProcessExit, control: ControlledChild | undefined): InfrastructureEnd {
  const { type, name } = control?.reported ?? {};
  const reported = isStateType(type) && name !== undefined ? { type, name } : null;
  return { ...exit, isConcluded: control?.conclusion !== undefined, reported };
}

function pathOf(python: PythonFinding): string {
  if (python.kind === "missing") throw new Error(python.message);
  return python.engine.python;
}

/** An engine that can be told of a cancellation runs the hooks itself, an older one must not: it would run the wrong ones. */
function hookOwner(python: PythonFinding): Record<string, string> {
  const engineOwns = python.kind === "missing" || isAtLeast(python.engine.prefectVersion, controlledSince);
  return { PREFECT__ENABLE_CANCELLATION_AND_CRASHED_HOOKS: String(engineOwns) };
}

function endable(
  child: StartedProcess,
  control: ControlledChild | undefined,
): Pick<StartedInfrastructure, "terminate" | "cancel"> {
  return {
    terminate: (now) => terminate(child, terminateGraceMs, now),
    async cancel(now) {
      if ((await control?.tell("cancel")) === "already concluded") return "already concluded";
      await terminate(child, terminateGraceMs, now);
      return "ended";
    },
  };
}

async function tryHooks(
  { python, log }: ProcessDependencies,
  run: { kind: HookKind; flowRunId: string; cwd: string; env: Record<string, string>; streamOutput: boolean },
): Promise<void> {
  const finding = await python;
  if (finding.kind === "missing") return;
  try {
    await runHooks({ python: finding.engine.python, ...run });
  } catch (error) {
    log.warn(
      { err: error, flow_run_id: run.flowRunId },
      `Runner failed to retrieve flow to execute on_${run.kind} hooks for flow run '${run.flowRunId}'.`,
    );
  }
}
