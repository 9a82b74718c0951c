// Chooses how the process of a flow run is started, and who runs its hooks.
// Source: prefect workers/process.py, runner/_workspace_starter.py.
import { commandWords, isEngine, mayStartEngine } from "./engine-command.ts";
import type { Launch, LaunchRequest } from "./launch.ts";
import { isAtLeast } from "./prefect-release.ts";
import { supervisedLaunch, supervisorSince } from "./supervisor.ts";
import { findWantedUv, isPrefectProject, projectPython } from "./uv-project.ts";

/**
 * Engines since this release always run the crash hooks when they report the crash themselves.
 * Source: prefect flow_engine.py _engine_owns_cancellation_handling.
 */
const runsCrashedHooksSince = "3.8.4";

/** Returns how to start a flow run. Throws an error with the finding's message when there is no Python for an engine. */
export async function chooseLaunch(request: LaunchRequest): Promise<Launch> {
  const { python, command, cwd, env } = request;
  if (python.kind === "missing") {
    if (command === null) throw new Error(python.message);
    const startsEngine = await mayStartEngine(command, { cwd, env });
    // Without a Python, lictor cannot run hooks. Only the program itself can.
    return launch(command, { python: null, startsEngine, runsHooks: { cancellation: true, crashed: true } });
  }
  const { python: path, prefectVersion } = python.engine;
  // The worker runs the cancellation hooks. An engine that runs them reports Cancelling again, as if the flow run had been
  // cancelled twice. An engine before 3.6.27 takes a cancellation for a crash.
  const runsHooks = { cancellation: false, crashed: isAtLeast(prefectVersion, runsCrashedHooksSince) };
  if (command !== null) {
    const startsEngine = await mayStartEngine(command, { cwd, env });
    return launch(command, { python: startsEngine ? [path] : null, runsHooks, startsEngine });
  }
  const uv = await findWantedUv(env);
  if (uv && isAtLeast(prefectVersion, supervisorSince)) return await supervisedLaunch(path, request);
  // A project may have any release of Prefect, so nothing is assumed about its engine's hooks.
  if (uv && (await isPrefectProject(cwd))) {
    return launchEngine(projectPython(uv, cwd), { cancellation: false, crashed: false });
  }
  return launchEngine([path], runsHooks);
}

function launchEngine(python: readonly string[], runsHooks: Launch["runsHooks"]): Launch {
  const [path, ...others] = python;
  return {
    ...launch([...python, "-m", "prefect.engine"], { python, runsHooks, startsEngine: true }),
    enginePython: path !== undefined && others.length === 0 ? path : null,
  };
}

/** Returns the launch of `argv`. `python` is the command that starts Python for hooks; null if hooks cannot be run. */
function launch(
  argv: readonly string[],
  { python, ...facts }: { python: readonly string[] | null } & Pick<Launch, "runsHooks" | "startsEngine">,
): Launch {
  const words = commandWords(argv);
  const cancelsItself = words.some((word, index) => word === "flow-run" && words[index + 1] === "execute");
  return {
    argv,
    enginePython: null,
    runsHooks: cancelsItself ? { cancellation: true, crashed: true } : facts.runsHooks,
    startsEngine: facts.startsEngine,
    reportsRunning: facts.startsEngine && isEngine(argv),
    cancelsItself,
    hookPython: python,
    supervisorDirectory: null,
  };
}
