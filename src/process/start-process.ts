// Starts a child in its own process group, and waits for its end.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { stat } from "node:fs/promises";
import { setTimeout as delay } from "node:timers/promises";
import { describeLargest } from "./environment-size.ts";
import type { OutputFiles } from "./output-files.ts";
import { encodeRawVariables, passOnRawVariables } from "./raw-environment.ts";
import { explainShortage, findShortage, systemCode } from "./system-errors.ts";

/** How a process ended: an exit code, or the signal that ended it. */
export interface ProcessExit {
  code: number | null;
  signal: NodeJS.Signals | null;
}

/** A running child. Its process group id is its pid. */
export interface StartedProcess {
  readonly pid: number;
  /** Resolves at the end of the child itself; grandchildren may live on. Never rejects. */
  readonly exited: Promise<ProcessExit>;
}

/**
 * Where a child prints to: lictor's own standard output and error, nowhere, or files. There are no pipes, because the end
 * of lictor would break them and end the child.
 */
export type ChildOutput = "inherit" | "ignore" | OutputFiles;

/** The program to start, and how. */
export interface StartOptions {
  argv: readonly string[];
  cwd: string;
  env: Readonly<Record<string, string>>;
  output: ChildOutput;
}

/** The pauses between attempts to start a program when the machine is short of something. */
const shortagePausesMs = [250, 750, 2_000];

/**
 * Starts `argv` without a shell in a new session, and so in its own process group. A signal to lictor's group (Ctrl-C) does
 * not reach it. A signal to its group reaches all its descendants that do not start a new session. Returns when it runs.
 *
 * A start that fails for a shortage of processes, memory or file handles is repeated for 3 s. Then it throws ShortageError.
 * Throws the spawn error otherwise (ENOENT, EACCES …), or an error that explains it: a missing working directory, or an
 * environment that is too large.
 */
export async function startProcess(options: StartOptions): Promise<StartedProcess> {
  for (const pauseMs of shortagePausesMs) {
    try {
      return await tryStart(options);
    } catch (error) {
      if (findShortage(error) === undefined) throw await explain(error, options);
    }
    await delay(pauseMs);
  }
  return await tryStart(options).catch(async (error: unknown) => {
    throw await explain(error, options);
  });
}

async function tryStart(given: StartOptions): Promise<StartedProcess> {
  const { argv, cwd, env, output } = { ...given, ...(await passOnRawVariables(given)) };
  const [file = "", ...args] = argv;
  const files = typeof output === "string" ? [] : await output.openForProgram();
  const [stdout, stderr] = typeof output === "string" ? [output, output] : files.map(({ fd }) => fd);
  try {
    const child = spawn(file, args, { cwd, env: { ...env }, detached: true, stdio: ["ignore", stdout, stderr] });
    // The listener is added before the first await, because a child may end before "spawn" is handled.
    const exited = new Promise<ProcessExit>((resolve) => {
      child.once("exit", (code, signal) => resolve({ code, signal }));
    });
    await once(child, "spawn");
    if (child.pid === undefined) throw new Error(`${file} started without a pid`);
    return { pid: child.pid, exited };
  } finally {
    for (const opened of files) await opened.close();
  }
}

async function explain(error: unknown, options: StartOptions): Promise<unknown> {
  const { argv, cwd, env } = options;
  if (findShortage(error) !== undefined) return explainShortage(error);
  if (systemCode(error) === "E2BIG") {
    return new Error(describeLargest(argv, env, await encodeRawVariables(env)), { cause: error });
  }
  // The system's error is the same for a missing program and a missing directory.
  if (!(await isDirectory(cwd)))
    return new Error(
      `The working directory '${cwd}' does not exist. Create it, or correct the job variable working_dir.`,
      {
        cause: error,
      },
    );
  return error;
}

/** Returns whether the path names a directory. Never throws. */
export async function isDirectory(path: string): Promise<boolean> {
  return await stat(path).then(
    (found) => found.isDirectory(),
    () => false,
  );
}
