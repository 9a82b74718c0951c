// lictor as a user starts it: bin/lictor.js in a process of its own, in an environment of its own.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { inCheckout } from "./checkout.ts";
import { cleanEnvironment } from "./clean-environment.ts";
import { endChild, forkServers, pidsWithEnvironment, signalProcess } from "./processes.ts";
import { collectOutput, type ProgramOutput } from "./program-output.ts";
import type { CommandResult } from "./run-command.ts";
import { makeTemporaryDirectory } from "./temporary-directory.ts";

/** How a process ended: the exit code, or the signal that ended it. */
export interface Exit {
  code: number | null;
  signal: NodeJS.Signals | null;
}

/** `env` comes on top of a minimal environment; `command` is what is started instead of bin/lictor.js. */
export interface ProgramOptions {
  env?: Record<string, string>;
  cwd?: string;
  command?: readonly [string, ...string[]];
  onLine?: (line: string) => void;
}

/** A started program. Disposing ends it and whatever it has started, and removes its home. */
export interface RunningProgram extends ProgramOutput, AsyncDisposable {
  pid: number;
  /** Its HOME; PREFECT_HOME lies in it, TMPDIR is its folder `tmp`. Removed at dispose. */
  home: string;
  /** Resolves once the process has ended; its output is then complete, unless a descendant still holds the streams. */
  exited: Promise<Exit>;
  signal(signal: NodeJS.Signals): void;
  /** The living processes that the program has started, also indirectly, without fork servers. */
  descendants(): Promise<number[]>;
}

/** The command line of lictor, run by the Node.js of LICTOR_TEST_NODE, else by that of the tests. */
export const LICTOR: readonly [string, ...string[]] = [
  process.env.LICTOR_TEST_NODE ?? process.execPath,
  inCheckout("bin/lictor.js"),
];

// Longer than a drain in any test, shorter than a test's own timeout.
const STOP_GRACE_MS = 15_000;

const OUTPUT_DRAIN_MS = 500;

/** Starts `lictor <args>`. */
export async function startLictor(args: readonly string[], options: ProgramOptions = {}): Promise<RunningProgram> {
  const temporary = await makeTemporaryDirectory("lictor-home-");
  const home = temporary.path;
  await mkdir(join(home, "tmp"));
  const [file, ...leading] = options.command ?? LICTOR;
  const child = spawn(file, [...leading, ...args], {
    cwd: options.cwd ?? home,
    env: cleanEnvironment({
      HOME: home,
      PREFECT_HOME: join(home, ".prefect"),
      TMPDIR: join(home, "tmp"),
      LICTOR_ENGINE: process.env.LICTOR_TEST_ENGINE ?? "auto",
      // Most tests need no engine, or a single one.
      LICTOR_ENGINE_LAZY: "true",
      ...options.env,
    }),
    stdio: ["ignore", "pipe", "pipe"],
  });
  const output = collectOutput(child, options.onLine);
  const exited = endOf(child);
  await once(child, "spawn");
  const pid = child.pid as number;
  const all = async () => (await pidsWithEnvironment("HOME", home)).filter((found) => found !== pid);
  const descendants = async () => {
    const found = await all();
    const servers = await forkServers();
    return found.filter((each) => !servers.includes(each));
  };
  return Object.assign(output, {
    pid,
    home,
    exited,
    signal: (signal: NodeJS.Signals) => signalProcess(pid, signal),
    descendants,
    async [Symbol.asyncDispose]() {
      await endWithDescendants(child, pid, all);
      await temporary[Symbol.asyncDispose]();
    },
  });
}

/** "close" follows "exit" within a few ms, but never while an orphaned flow run holds the inherited streams. */
async function endOf(child: ChildProcess): Promise<Exit> {
  const closed = once(child, "close");
  const [code, signal] = (await once(child, "exit")) as [number | null, NodeJS.Signals | null];
  await Promise.race([closed, delay(OUTPUT_DRAIN_MS, undefined, { ref: false })]);
  return { code, signal };
}

async function endWithDescendants(
  child: ChildProcess,
  pid: number,
  descendants: () => Promise<number[]>,
): Promise<void> {
  await endChild(child, pid, STOP_GRACE_MS);
  for (const left of await descendants()) signalProcess(left, "SIGKILL");
}

/** Runs `lictor <args>` to its end. */
export async function runLictor(args: readonly string[], options: ProgramOptions = {}): Promise<CommandResult> {
  await using program = await startLictor(args, options);
  const { code } = await program.exited;
  return { code, stdout: program.stdout, stderr: program.stderr };
}
