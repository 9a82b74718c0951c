// How to start the process of a flow run, and who runs the hooks of its flow.
import { terminateGraceMs } from "../process/terminate.ts";
import type { PythonFinding } from "./find-python.ts";

/**
 * `prefect flow-run execute` checks for a cancellation every 10 s, gives its engine 30 s, and then runs hooks. The step
 * `kill` ends this wait, because the time limit of that step has no room for it.
 */
export const selfCancelMs = 10_000 + terminateGraceMs + 20_000;

/**
 * What has to be known of a started program later. It is plain data, because the journal keeps it for a worker that adopts
 * the flow run.
 */
export interface LaunchFacts {
  /** The hooks that the program runs itself when it reports the state. */
  readonly runsHooks: { readonly cancellation: boolean; readonly crashed: boolean };
  /** Whether the program detects a cancellation itself, ends its engine, runs the hooks and reports the state. */
  readonly cancelsItself: boolean;
  /** False for a command that is clearly no Prefect engine. It has no hooks. */
  readonly startsEngine: boolean;
  /**
   * Whether the program reports Running before it begins. True only for the engine itself. A script may start an engine,
   * but it may also begin at once and report nothing.
   */
  readonly reportsRunning: boolean;
  /** The command that starts Python for hooks. Null if the worker cannot run hooks. */
  readonly hookPython: readonly string[] | null;
  /** The directory of the workspace supervisor. Null if the program is started without it. */
  readonly supervisorDirectory: string | null;
}

/** How to start a flow run. */
export interface Launch extends LaunchFacts {
  /** The program and its arguments. */
  readonly argv: readonly string[];
  /** The Python, if the program is nothing but its engine. Then the engine can be forked. Otherwise null. */
  readonly enginePython: string | null;
}

/** What to start. `command` is the one of the job configuration, or null for the engine. */
export interface LaunchRequest {
  python: PythonFinding;
  command: readonly string[] | null;
  flowRunId: string;
  /** Absolute. */
  cwd: string;
  env: Readonly<Record<string, string>>;
  /** Creates a temporary directory whose name begins with `prefix`, and returns its path. The caller removes it. */
  makeTemporary: (prefix: string) => Promise<string>;
}
