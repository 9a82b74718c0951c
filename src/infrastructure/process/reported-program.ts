// Starts a program that is no engine, so that all that the worker has to report of it outlives the worker.
import { mkdir, open, readFile, writeFile } from "node:fs/promises";
import { constants } from "node:os";
import { isAbsolute, join } from "node:path";
import { findProgram } from "../../process/find-program.ts";
import { systemCode } from "../../process/system-errors.ts";
import type { LaunchFacts } from "../../program/launch.ts";
import {
  fitsVariable,
  maxResultBytes,
  parametersFileVariable,
  parametersVariable,
  type ReportedProgram,
  resultFileVariable,
} from "../../program/program.ts";
import type { Ending } from "../execution.ts";

/**
 * Only the parent of a process learns its exit code. So a shell is the parent, writes the code to a file, and exits with the
 * same. It opens the file before the program begins, because the next worker renames its directory. A signal to the group
 * must not end the shell before the program. The program gets signals as usual, because it does not inherit traps. The shell's
 * own messages, such as "Terminated", are not those of the program.
 */
const script = [
  "trap : HUP INT QUIT TERM USR1 USR2",
  'exec 9>"$0" 8>&2 2>/dev/null',
  '"$@" 2>&8 8>&- 9>&-',
  "code=$?",
  'echo "$code" >&9',
  'exit "$code"',
].join("\n");

const exitName = "exit-code";
const resultName = "result.json";
const parametersName = "parameters.json";

/** Such a program has no hooks and reports nothing. */
export const reportedLaunch: LaunchFacts = {
  runsHooks: { cancellation: true, crashed: true },
  cancelsItself: false,
  startsEngine: false,
  reportsRunning: false,
  hookPython: null,
  supervisorDirectory: null,
};

/** Where a program is started. */
interface ProgramPlace {
  readonly cwd: string;
  readonly env: Readonly<Record<string, string>>;
  /** The directory of the flow run, where the next worker finds the exit code; null if there is none. */
  readonly directory: string | null;
  /** A directory for the parameters and the result. Its path must not change while the program runs. */
  readonly programDirectory: string;
}

/**
 * Prepares the files of a program. Returns the command line that starts it, and the variables that it gets besides its own.
 * Throws an Error if there is no such program, and the system's error.
 */
export async function prepareProgram(
  { command, parameters }: ReportedProgram,
  { cwd, env, directory, programDirectory }: ProgramPlace,
): Promise<{ argv: string[]; variables: Record<string, string> }> {
  const [name, ...args] = command;
  // The shell would only print that it finds no program. And it would prefer an own command, such as its echo.
  const file = await findProgram(name, { cwd, env });
  if (file === undefined) throw new Error(explainMissing(name, cwd));
  if (directory !== null) await mkdir(directory, { recursive: true, mode: 0o700 });
  const exitFile = directory === null ? "/dev/null" : join(directory, exitName);
  const parametersFile = join(programDirectory, parametersName);
  await writeFile(parametersFile, parameters, { mode: 0o600 });
  return {
    argv: ["/bin/sh", "-c", script, exitFile, file, ...args],
    variables: {
      ...(fitsVariable(parameters) && { [parametersVariable]: parameters }),
      [parametersFileVariable]: parametersFile,
      [resultFileVariable]: join(programDirectory, resultName),
    },
  };
}

function explainMissing(name: string, cwd: string): string {
  if (!name.includes("/"))
    return `The program '${name}' is not on the PATH of the flow run. Install it where the worker runs, or write its whole path.`;
  const place = isAbsolute(name) ? "" : ` in the working directory '${cwd}'`;
  return `The program '${name}' is not found${place}, or may not be executed. Correct the command, or make the file executable.`;
}

/** Returns how a program ended whose shell exited with this code. A shell adds 128 to the number of a signal. */
export function fromShell(code: number): Ending {
  const isSignal = Object.values<number>(constants.signals).includes(code - 128);
  return { kind: "exited", status: isSignal ? 128 - code : code, reported: null };
}

/**
 * Returns what the shell wrote to the directory of the flow run: the end of the program, or only that it began. Null if it
 * did not begin. Never rejects.
 */
export async function readRecordedEnd(directory: string | null): Promise<Ending | "began" | null> {
  if (directory === null) return "began";
  try {
    const text = (await readFile(join(directory, exitName), "utf8")).trim();
    return /^\d+$/.test(text) ? fromShell(Number(text)) : "began";
  } catch (error) {
    return systemCode(error) === "ENOENT" ? null : "began";
  }
}

/** Returns the result, at most one byte more than is used. An empty text if there is none. Never rejects. */
export async function readResult(programDirectory: string): Promise<string> {
  try {
    await using file = await open(join(programDirectory, resultName));
    const { buffer, bytesRead } = await file.read(Buffer.alloc(maxResultBytes + 1), 0, maxResultBytes + 1, 0);
    return buffer.toString("utf8", 0, bytesRead);
  } catch {
    return "";
  }
}
