// How to start the process of a flow run, and who runs the hooks of its flow.
import type { PythonFinding } from "./find-python.ts";
import type { HookCall } from "./run-hooks.ts";

/** How to start a flow run. Disposing removes its temporary files. */
export interface Launch extends AsyncDisposable {
  /** The program and its arguments. */
  readonly argv: readonly string[];
  /** The hooks that the program runs itself when it reports the state. */
  readonly runsHooks: { readonly cancellation: boolean; readonly crashed: boolean };
  /** Whether the program detects a cancellation itself, ends its engine, runs the hooks and reports the state. */
  readonly cancelsItself: boolean;
  /** False for a command that is clearly no Prefect engine. It has no hooks, and `runHooks` does nothing. */
  readonly startsEngine: boolean;
  /** Runs the hooks that the engine did not run. Throws when the flow cannot be loaded. */
  runHooks(call: HookCall): Promise<void>;
}

/** What to start. `command` is the one of the job configuration, or null for the engine. */
export interface LaunchRequest {
  python: PythonFinding;
  command: readonly string[] | null;
  flowRunId: string;
  /** Absolute. */
  cwd: string;
  env: Readonly<Record<string, string>>;
  /** Creates a temporary directory whose name begins with `prefix`, and returns its path. */
  makeTemporary: (prefix: string) => Promise<string>;
}
