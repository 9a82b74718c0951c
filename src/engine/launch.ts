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
  /** The states whose hooks the program runs itself when it is the one that reports them. */
  readonly runsHooks: { readonly cancellation: boolean; readonly crashed: boolean };
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

/**
 * Engines since this release run the hooks of a crash that they report, whatever they are told about hooks. Source: prefect
 * flow_engine.py _engine_owns_cancellation_handling.
 */
const runsCrashedHooksSince = "3.8.4";

/** Decides how a flow run is started. Throws when it needs a Python and there is none. */
export async function chooseLaunch(request: LaunchRequest): Promise<Launch> {
  const { python, command, cwd, env } = request;
  if (python.kind === "missing") {
    if (command === null) throw new Error(python.message);
    const startsEngine = await mayStartEngine(command, { cwd, env });
    // Nobody else could run them.
    return launch(command, { python: null, startsEngine, runsHooks: { cancellation: true, crashed: true } });
  }
  const { python: path, prefectVersion } = python.engine;
  // The hooks of a cancellation are the worker's: an engine that owns them reports Cancelling once more, as if the flow run
  // had been cancelled twice, and one before 3.6.27 takes a cancellation for a crash.
  const runsHooks = { cancellation: false, crashed: isAtLeast(prefectVersion, runsCrashedHooksSince) };
  if (command !== null) {
    const startsEngine = await mayStartEngine(command, { cwd, env });
    return launch(command, { python: startsEngine ? [path] : null, runsHooks, startsEngine });
  }
  const uv = await findWantedUv(env);
  if (uv && isAtLeast(prefectVersion, supervisorSince)) return await supervisedLaunch(path, request);
  // A project may have any release of Prefect.
  if (uv && (await isPrefectProject(cwd))) {
    return launchEngine(projectPython(uv, cwd), { cancellation: false, crashed: false });
  }
  return launchEngine([path], runsHooks);
}

function launchEngine(python: readonly string[], runsHooks: Launch["runsHooks"]): Launch {
  return launch([...python, "-m", "prefect.engine"], { python, runsHooks, startsEngine: true });
}

/** `python` starts the Python that hooks are run in; without one they are not. */
function launch(
  argv: readonly string[],
  { python, ...facts }: { python: readonly string[] | null } & Pick<Launch, "runsHooks" | "startsEngine">,
): Launch {
  const words = commandWords(argv);
  const cancelsItself = words.some((word, index) => word === "flow-run" && words[index + 1] === "execute");
  return {
    argv,
    runsHooks: cancelsItself ? { cancellation: true, crashed: true } : facts.runsHooks,
    startsEngine: facts.startsEngine,
    cancelsItself,
    runHooks: async (call) => {
      if (python !== null) await runHooks(python, call);
    },
    [Symbol.asyncDispose]: async () => {},
  };
}
