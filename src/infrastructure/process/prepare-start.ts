// Prepares what a flow run starts: the command line, the variables, and what has to be known of it later.
import type { ControlledChild } from "../../process/control-channel.ts";
import { chooseLaunch } from "../../program/choose-launch.ts";
import type { LaunchFacts } from "../../program/launch.ts";
import { logBatchVariables } from "../../program/log-batch-size.ts";
import type { EngineProgram, ReportedProgram } from "../../program/program.ts";
import type { InfrastructureServices } from "../pool-type.ts";
import { sendsHeartbeats } from "./process-execution.ts";
import { prepareProgram, reportedLaunch } from "./reported-program.ts";

/** What is started in the end. */
export interface Prepared {
  readonly argv: readonly string[];
  /** The Python of an engine that can be forked. */
  readonly enginePython: string | null;
  /** The variables besides those of the flow run. */
  readonly variables: Readonly<Record<string, string>>;
  readonly programDirectory?: string;
  readonly sendsHeartbeats: boolean;
  readonly launch: LaunchFacts;
}

/** Where it is started. */
export interface StartPlace {
  readonly directory: string | null;
  readonly cwd: string;
  readonly env: Readonly<Record<string, string>>;
  readonly controlled: ControlledChild | undefined;
  makeTemporary(prefix: string): Promise<string>;
}

/** Prepares an engine, or a command that may start one. */
export async function prepareEngine(
  services: InfrastructureServices,
  { command }: EngineProgram,
  { flowRunId, cwd, env, controlled, makeTemporary }: StartPlace & { flowRunId: string },
): Promise<Prepared> {
  const python = await services.python();
  const { argv, enginePython, ...launch } = await chooseLaunch({ python, command, flowRunId, cwd, env, makeTemporary });
  const variables = {
    ...(await logBatchVariables({ command, cwd, env, workerEnv: services.processEnvironment() })),
    ...childVariables(launch, controlled),
  };
  return { argv, enginePython, variables, sendsHeartbeats: sendsHeartbeats(python), launch };
}

/** Prepares a program whose states the worker reports. */
export async function prepareReported(program: ReportedProgram, place: StartPlace): Promise<Prepared> {
  const programDirectory = await place.makeTemporary("lictor-program-");
  const prepared = await prepareProgram(program, { ...place, programDirectory });
  return { ...prepared, enginePython: null, programDirectory, sendsHeartbeats: false, launch: reportedLaunch };
}

function childVariables(launch: LaunchFacts, controlled: ControlledChild | undefined): Record<string, string> {
  const ownsHooks = String(launch.runsHooks.cancellation);
  return { ...controlled?.environment, PREFECT__ENABLE_CANCELLATION_AND_CRASHED_HOOKS: ownsHooks };
}
