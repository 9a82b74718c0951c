// Runs the hooks of a flow in the way that fits how its program was started.
import type { LaunchFacts } from "./launch.ts";
import { type HookCall, runHooks } from "./run-hooks.ts";
import { runSupervisedHooks } from "./supervisor.ts";

/** What has to be known of a launch to run hooks. */
export type HookFacts = Pick<LaunchFacts, "hookPython" | "supervisorDirectory">;

/** Runs the hooks that the program did not run. Throws when the flow cannot be loaded. */
export async function runLaunchHooks(facts: HookFacts, call: HookCall): Promise<void> {
  const { hookPython, supervisorDirectory } = facts;
  if (hookPython === null) return;
  if (supervisorDirectory === null) await runHooks(hookPython, call);
  else await runSupervisedHooks(hookPython, supervisorDirectory, call);
}
