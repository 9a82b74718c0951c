// Runs the hooks of a flow in the place of its program: where the program ran, or where it could run on this machine.
import { resolve } from "node:path";
import { AsyncDisposables } from "../../async/async-disposables.ts";
import { omitUnset } from "../../job/flow-run-environment.ts";
import { isDirectory } from "../../process/start-process.ts";
import { makeTemporaryDirectory } from "../../process/temporary-directory.ts";
import { mayStartEngine } from "../../program/engine-command.ts";
import { reachesSameServer } from "../../program/hook-script.ts";
import { type HookFacts, runLaunchHooks } from "../../program/launch-hooks.ts";
import type { HookCall } from "../../program/run-hooks.ts";
import type { HookRunner } from "../execution.ts";
import type { InfrastructureServices } from "../pool-type.ts";
import { openOutputFiles, removeAll, toLineReader } from "./kept-files.ts";
import type { ProcessJob } from "./process-job.ts";

/** Where and how the hooks of a flow run are run. */
export interface HookPlace extends Pick<HookCall, "cwd" | "env" | "output"> {
  readonly launch: HookFacts;
}

/** A program that is gone. `readJob` reads its job anew, because its environment went with it. */
export interface LostProgram {
  readonly flowRunId: string;
  readJob(): Promise<ProcessJob>;
}

/**
 * Returns the runner of the hooks in a place. `openPlace` is called when there are hooks to run, and what it opens is closed
 * afterwards.
 */
export function hookRunner(
  services: InfrastructureServices,
  runsItself: HookRunner["runsItself"],
  openPlace: (opened: AsyncDisposables) => Promise<HookPlace>,
): HookRunner {
  return {
    runsItself,
    async run(request) {
      const { kind, flowRun } = request;
      try {
        await using opened = new AsyncDisposables();
        const { launch, ...place } = await openPlace(opened);
        const serverIsKnown = reachesSameServer(place.env, services.processEnvironment());
        await runLaunchHooks(launch, { ...request, ...place, serverIsKnown });
      } catch (error) {
        const failure = `Runner failed to retrieve flow to execute on_${kind} hooks for flow run '${flowRun.id}'.`;
        services.log.warn({ err: error, flow_run_id: flowRun.id }, failure);
      }
    },
  };
}

/** Returns where a lost program ran on this machine, if `ran` says so, else a place like the one that it would get here. */
export async function openLostPlace(
  services: InfrastructureServices,
  { flowRunId, readJob }: LostProgram,
  ran: Omit<HookPlace, "env"> | null,
  opened: AsyncDisposables,
): Promise<HookPlace> {
  const makeTemporary = async (prefix: string): Promise<string> => {
    const path = await makeTemporaryDirectory(prefix, services.processEnvironment());
    opened.add(() => removeAll([path]));
    return path;
  };
  const { program, workingDirectory, streamOutput } = await readJob();
  const env = { ...omitUnset(services.environment), ...program.env };
  const emptyPlace = (): Promise<string> => makeTemporary("lictor-flow-run-");
  // The system may have removed the temporary directory, for example at a restart of the machine.
  if (ran !== null) return { ...ran, env, cwd: (await isDirectory(ran.cwd)) ? ran.cwd : await emptyPlace() };
  const cwd = workingDirectory === null ? await emptyPlace() : resolve(workingDirectory);
  const python = await services.python();
  const isEngine =
    program.reporter === "engine" &&
    (program.command === null || (await mayStartEngine(program.command, { cwd, env })));
  const hookPython = python.kind === "found" && isEngine ? [python.engine.python] : null;
  const place = { launch: { hookPython, supervisorDirectory: null }, cwd, env };
  if (!streamOutput || !services.onOutput) return { ...place, output: streamOutput ? "inherit" : "ignore" };
  const onLine = toLineReader(services, { flowRunId }, { isPrinted: true });
  const directory = await makeTemporary("lictor-output-");
  const output = await openOutputFiles(services, { flowRunId, directory, onLine });
  opened.add(async () => await output[Symbol.asyncDispose]());
  return { ...place, output };
}
