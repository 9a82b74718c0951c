// Starting a child in a process group of its own, and waiting for its end.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { stat } from "node:fs/promises";
import { setTimeout as delay } from "node:timers/promises";
import { describeLargest } from "./environment-size.ts";
import { findProgram } from "./find-program.ts";
import type { OutputFiles } from "./output-files.ts";
import { canPassOn, ownRawVariables, withRawVariables } from "./raw-environment.ts";
import { findLack, systemCode } from "./system-errors.ts";

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
 * Where a child prints to: lictor's own standard output and error, nowhere, or files. A pipe would break, and end the
 * child, when lictor is gone.
 */
export type ChildOutput = "inherit" | "ignore" | OutputFiles;

/** What is started, and with what. */
export interface StartOptions {
  argv: readonly string[];
  cwd: string;
  env: Readonly<Record<string, string>>;
  output: ChildOutput;
}

/** The pauses after which a start is tried again that a lack of the machine has prevented. */
const lackPausesMs = [250, 750, 2_000];

/**
 * Starts `argv` without a shell, in a new session and so in a process group of its own: a signal to lictor's group
 * (Ctrl-C) does not reach it, a signal to its group reaches all its descendants.
 *
 * A start that fails for lack of processes, memory or file handles is repeated for 3 s. Throws the spawn error (ENOENT,
 * EACCES …) where it speaks for itself, or an error that says what is wrong: the working directory, an environment that
 * is too large, or what the machine lacks.
 */
export async function startProcess(options: StartOptions): Promise<StartedProcess> {
  for (const pauseMs of lackPausesMs) {
    try {
      return await tryStart(options);
    } catch (error) {
      if (findLack(error) === undefined) throw await explain(error, options);
    }
    await delay(pauseMs);
  }
  return await tryStart(options).catch(async (error: unknown) => {
    throw await explain(error, options);
  });
}

async function tryStart(given: StartOptions): Promise<StartedProcess> {
  const options = { ...given, ...(await passOnRaw(given)) };
  const { output } = options;
  if (typeof output === "string") return await spawnChild(options, [output, output]);
  const files = await output.openForProgram();
  try {
    return await spawnChild(options, [files[0].fd, files[1].fd]);
  } finally {
    for (const file of files) await file.close();
  }
}

/** A program that is not there is started as it is: the shell in between would hide the system's error. */
async function passOnRaw(options: StartOptions): Promise<Pick<StartOptions, "argv" | "env">> {
  const variables = await ownRawVariables();
  if (variables.length === 0 || !canPassOn()) return options;
  return (await findProgram(options.argv[0] ?? "", options)) ? withRawVariables(options, variables) : options;
}

async function spawnChild(
  { argv, cwd, env }: StartOptions,
  [stdout, stderr]: ["inherit" | "ignore" | number, "inherit" | "ignore" | number],
): Promise<StartedProcess> {
  const [file = "", ...args] = argv;
  const child: ChildProcess = spawn(file, args, {
    cwd,
    env: { ...env },
    detached: true,
    stdio: ["ignore", stdout, stderr],
  });
  // Listening before the first await: a child may be gone before "spawn" has been handled.
  const exited = new Promise<ProcessExit>((resolve) => {
    child.once("exit", (code, signal) => resolve({ code, signal }));
  });
  await once(child, "spawn");
  if (child.pid === undefined) throw new Error(`${file} started without a pid`);
  return { pid: child.pid, exited };
}

async function explain(error: unknown, { argv, cwd, env }: StartOptions): Promise<unknown> {
  const lack = findLack(error);
  if (lack !== undefined) return new Error(`${String((error as Error).message)}: ${lack}`, { cause: error });
  if (systemCode(error) === "E2BIG") return new Error(describeLargest(argv, env), { cause: error });
  // The system's error is the same for a missing program and a missing directory.
  if (!(await isDirectory(cwd))) return new Error(`the working directory '${cwd}' does not exist`, { cause: error });
  return error;
}

async function isDirectory(path: string): Promise<boolean> {
  return await stat(path).then(
    (found) => found.isDirectory(),
    () => false,
  );
}
