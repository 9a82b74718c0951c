// A way to start the process of a flow run, and who runs the hooks of its flow.
import type { PythonFinding } from "./find-python.ts";
import type { HookCall } from "./run-hooks.ts";

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
