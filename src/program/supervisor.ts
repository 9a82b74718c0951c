// Starts an engine by Prefect's workspace supervisor. The supervisor fetches a flow run's code, chooses how to start the
// engine for it, and becomes that engine. This costs a second start of Python, so it is used only where the choice matters.
// Source: prefect runner/_workspace_supervisor.py, _workspace_runtime.py, _workspace_hook_runner.py.
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Launch, LaunchRequest } from "./launch.ts";
import { type HookCall, runHookProcess, runHooks } from "./run-hooks.ts";

/** The part that lictor reads of the file that the supervisor writes about its engine. */
interface Manifest {
  working_directory: string;
  hook_command: string[] | null;
  environment: Record<string, string>;
}

/** The first release of Prefect with the supervisor. */
export const supervisorSince = "3.8.4";

/**
 * Returns the launch of an engine by the supervisor, which fetches the code into `cwd`. Throws when there is no place for
 * temporary files.
 */
export async function supervisedLaunch(
  python: string,
  { cwd, flowRunId, makeTemporary }: Pick<LaunchRequest, "cwd" | "flowRunId" | "makeTemporary">,
): Promise<Launch> {
  const directory = await makeTemporary("lictor-supervisor-");
  const config = join(directory, "supervisor.json");
  await writePrivately(config, {
    flow_run_id: flowRunId,
    workspace_root: cwd,
    manifest_path: manifestIn(directory),
    command: null,
  });
  return {
    argv: [python, "-m", "prefect.runner._workspace_supervisor", config],
    enginePython: null,
    runsHooks: { cancellation: false, crashed: true },
    cancelsItself: false,
    startsEngine: true,
    reportsRunning: true,
    hookPython: [python],
    supervisorDirectory: directory,
  };
}

function manifestIn(directory: string): string {
  return join(directory, "workspace.json");
}

/**
 * Runs the hooks in the engine's Python, which has the packages of the flow. If the supervisor has not chosen one yet, runs
 * them with the script and the command `python`. Throws when the flow cannot be loaded.
 */
export async function runSupervisedHooks(python: readonly string[], directory: string, call: HookCall): Promise<void> {
  const manifest = await findManifest(manifestIn(directory));
  if (!manifest?.hook_command) return await runHooks(python, call);
  const flowRun = join(directory, "flow-run.json");
  const state = join(directory, "state.json");
  await writePrivately(flowRun, call.flowRun);
  await writePrivately(state, call.state);
  await runHookProcess([...manifest.hook_command, call.kind, manifestIn(directory), flowRun, state], {
    ...call,
    cwd: manifest.working_directory,
    env: manifest.environment,
  });
}

/** Returns undefined if the supervisor ended before it wrote the file. It never writes a part of the file. */
async function findManifest(file: string): Promise<Manifest | undefined> {
  try {
    return JSON.parse(await readFile(file, "utf8")) as Manifest;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}

/** Writes a file that only this user can read, because parameters and environments may hold secrets. */
async function writePrivately(file: string, content: object): Promise<void> {
  await writeFile(file, JSON.stringify(content), { mode: 0o600 });
}
