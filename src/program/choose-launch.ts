// Decides how the process of a flow run is started, and who runs its hooks.
// Source: prefect workers/process.py, runner/_workspace_starter.py.
import { commandWords, mayStartEngine } from "./engine-command.ts";
import type { Launch, LaunchRequest } from "./launch.ts";
import { isAtLeast } from "./prefect-release.ts";
import { runHooks } from "./run-hooks.ts";
import { supervisedLaunch, supervisorSince } from "./supervisor.ts";
import { findWantedUv, isPrefectProject, projectPython } from "./uv-project.ts";

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
