// Runs one command line. Only this file turns an error into a message and an exit code.
import { CommanderError } from "commander";
import { buildProgram } from "./program.ts";

/** Runs one command line. An error becomes one message on standard error and exit code 1. */
async function main(argv: readonly string[]): Promise<void> {
  try {
    await buildProgram(argv.slice(2)).parseAsync([...argv]);
  } catch (error) {
    if (error instanceof CommanderError) {
      process.exitCode = error.exitCode === 0 ? 0 : 1;
      return;
    }
    process.exitCode = 1;
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  }
}

// A reader such as `head` may close the pipe. That must neither print a stack trace nor end a worker.
for (const output of [process.stdout, process.stderr]) output.on("error", () => {});
// Not awaited, because a CommonJS file cannot await at its top.
void main(process.argv);
