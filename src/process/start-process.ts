// Starting a child in a process group of its own, and waiting for its end.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { stat } from "node:fs/promises";

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
 * Starts `argv` without a shell, in a new session and so in a process group of its own: a signal to lictor's group
 * (Ctrl-C) does not reach it, a signal to its group reaches all its descendants. Output goes straight to lictor's own
 * standard output and error, or nowhere: no copying, and no broken pipe for a child that outlives lictor.
 * Throws the spawn error (ENOENT, EACCES …), which does not tell a missing program from a missing directory, or says that
 * it is the directory.
 */
export async function startProcess(options: {
  argv: readonly string[];
  cwd: string;
  env: Readonly<Record<string, string>>;
  streamOutput: boolean;
}): Promise<StartedProcess> {
  const [file = "", ...args] = options.argv;
  const output = options.streamOutput ? "inherit" : "ignore";
  const child: ChildProcess = spawn(file, args, {
    cwd: options.cwd,
    env: { ...options.env },
    detached: true,
    stdio: ["ignore", output, output],
  });
  // Listening before the first await: a child may be gone before "spawn" has been handled.
  const exited = new Promise<ProcessExit>((resolve) => {
    child.once("exit", (code, signal) => resolve({ code, signal }));
  });
  await once(child, "spawn").catch(async (error: unknown) => {
    throw (await isDirectory(options.cwd)) ? error : new Error(`the working directory '${options.cwd}' does not exist`);
  });
  if (child.pid === undefined) throw new Error(`${file} started without a pid`);
  return { pid: child.pid, exited };
}

async function isDirectory(path: string): Promise<boolean> {
  return await stat(path).then(
    (found) => found.isDirectory(),
    () => false,
  );
}
