// How a flow run's process is started, and who runs the hooks of a cancelled or crashed flow run.
// Source: prefect workers/process.py, runner/_workspace_starter.py.
import { commandWords, mayStartEngine } from "./engine-command.ts";
import type { PythonFinding } from "./find-python.ts";
import { isAtLeast } from "./prefect-release.ts";
import { type HookCall, runHooks } from "./run-hooks.ts";
import { supervisedLaunch, supervisorSince } from "./supervisor.ts";
import { findWantedUv, isPrefectProject, projectPython } from "./uv-project.ts";

/** A way to start a flow run. Disposing removes what it needs for it. */
export interface Launch extends AsyncDisposable {
  /** The program and its arguments. */
  readonly argv: readonly string[];
  /** Whether the engine is to run the hooks of its cancellation itself. */
  readonly engineRunsHooks: boolean;
  /** The program hears of a cancellation by itself, ends its engine, runs the hooks and reports the state. */
  readonly cancelsItself: boolean;
  /** False for a command that clearly is no Prefect engine. It has no hooks, and `runHooks` does nothing. */
  readonly startsEngine: boolean;
  /** Runs the hooks in place of an engine that did not. Throws when it fails. */
  runHooks(call: HookCall): Promise<void>;
}

/** What is to be started: `command` is that of the job configuration, null for the engine. */
export interface LaunchRequest {
  python: PythonFinding;
  command: readonly string[] | null;
  flowRunId: string;
  /** Absolute. */
  cwd: string;
  env: Readonly<Record<string, string>>;
  /** Makes a directory for temporary files whose name begins with `prefix`. */
  makeTemporary: (prefix: string) => Promise<string>;
}

/** Engines since this release listen to the control channel; older ones take every SIGTERM for a crash. */
const controlledSince = "3.6.27";

/** Decides how a flow run is started. Throws when it needs a Python and there is none. */
export async function chooseLaunch(request: LaunchRequest): Promise<Launch> {
  const { python, command, cwd, env } = request;
  if (python.kind === "missing") {
    if (command === null) throw new Error(python.message);
    return launch(command, {
      python: null,
      engineRunsHooks: true,
      startsEngine: await mayStartEngine(command, { cwd, env }),
    });
  }
  const { python: path, prefectVersion } = python.engine;
  // One that can be told of a cancellation runs the hooks itself, an older one must not: it would run the wrong ones.
  const engineRunsHooks = isAtLeast(prefectVersion, controlledSince);
  if (command !== null) {
    const startsEngine = await mayStartEngine(command, { cwd, env });
    return launch(command, { python: startsEngine ? [path] : null, engineRunsHooks, startsEngine });
  }
  const uv = await findWantedUv(env);
  if (uv && isAtLeast(prefectVersion, supervisorSince)) return await supervisedLaunch(path, request);
  // A project may have any release of Prefect, also one that would run the wrong hooks.
  if (uv && (await isPrefectProject(cwd))) return launchEngine(projectPython(uv, cwd), false);
  return launchEngine([path], engineRunsHooks);
}

function launchEngine(python: readonly string[], engineRunsHooks: boolean): Launch {
  return launch([...python, "-m", "prefect.engine"], { python, engineRunsHooks, startsEngine: true });
}

/** `python` starts the Python that hooks are run in; without one they are not. */
function launch(
  argv: readonly string[],
  { python, ...facts }: { python: readonly string[] | null } & Pick<Launch, "engineRunsHooks" | "startsEngine">,
): Launch {
  const words = commandWords(argv);
  const cancelsItself = words.some((word, index) => word === "flow-run" && words[index + 1] === "execute");
  return {
    argv,
    engineRunsHooks: facts.engineRunsHooks || cancelsItself,
    startsEngine: facts.startsEngine,
    cancelsItself,
    runHooks: async (call) => {
      if (python !== null) await runHooks(python, call);
    },
    [Symbol.asyncDispose]: async () => {},
  };
}
