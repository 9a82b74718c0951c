// Prefect's workspace supervisor: it brings a flow run's code into place, decides by it how the engine is started, and
// becomes that engine. It costs a second start of Python, so it is used where its decision is needed.
// Source: prefect runner/_workspace_supervisor.py, _workspace_runtime.py, _workspace_hook_runner.py.
import { readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Launch, LaunchRequest } from "./launch.ts";
import { type HookCall, runHookProcess, runHooks } from "./run-hooks.ts";

/** What the supervisor leaves behind about the engine it has started; only what lictor reads. */
interface Manifest {
  working_directory: string;
  hook_command: string[] | null;
  environment: Record<string, string>;
}

/** Releases of Prefect since this one have the supervisor. */
export const supervisorSince = "3.8.4";

/**
 * Starts an engine by the supervisor, with `cwd` as the directory the code is brought into. Throws when there is no place
 * for temporary files.
 */
export async function supervisedLaunch(
  python: string,
  { cwd, flowRunId, makeTemporary }: Pick<LaunchRequest, "cwd" | "flowRunId" | "makeTemporary">,
): Promise<Launch> {
  const directory = await makeTemporary("lictor-supervisor-");
  const config = join(directory, "supervisor.json");
  const manifest = join(directory, "workspace.json");
  await writePrivately(config, {
    flow_run_id: flowRunId,
    workspace_root: cwd,
    manifest_path: manifest,
    command: null,
  });
  return {
    argv: [python, "-m", "prefect.runner._workspace_supervisor", config],
    runsHooks: { cancellation: false, crashed: true },
    cancelsItself: false,
    startsEngine: true,
    runHooks: (call) => runSupervisedHooks({ python, directory, manifest }, call),
    // Best effort: a folder in a temporary one harms nobody.
    [Symbol.asyncDispose]: () => rm(directory, { recursive: true, force: true }).catch(() => {}),
  };
}

/** In the engine's own Python, which alone has what the flow imports; by the script where none was chosen yet. */
async function runSupervisedHooks(
  files: { python: string; directory: string; manifest: string },
  call: HookCall,
): Promise<void> {
  const manifest = await findManifest(files.manifest);
  if (!manifest?.hook_command) return await runHooks([files.python], call);
  const flowRun = join(files.directory, "flow-run.json");
  const state = join(files.directory, "state.json");
  await writePrivately(flowRun, call.flowRun);
  await writePrivately(state, call.state);
  await runHookProcess([...manifest.hook_command, call.kind, files.manifest, flowRun, state], {
    ...call,
    cwd: manifest.working_directory,
    env: manifest.environment,
  });
}

/** Undefined when the supervisor ended before it had decided anything. It writes the file as a whole. */
async function findManifest(file: string): Promise<Manifest | undefined> {
  try {
    return JSON.parse(await readFile(file, "utf8")) as Manifest;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}

/** Parameters of flow runs and environments may hold secrets. */
async function writePrivately(file: string, content: object): Promise<void> {
  await writeFile(file, JSON.stringify(content), { mode: 0o600 });
}
