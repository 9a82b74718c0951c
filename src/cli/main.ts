// The program with its commands. Only this file turns an error into a message and an exit code.
import { Command, CommanderError } from "commander";
import { lictorVersion } from "../version.ts";
import { addCloud } from "./cloud.ts";
import { addConfig } from "./config.ts";
import { addDoctor } from "./doctor.ts";
import { addProfileCommands } from "./profile.ts";
import { addVersion } from "./version.ts";
import { addWorkerControl } from "./worker-control.ts";
import { addWorkerStart } from "./worker-start-command.ts";

const examples = `
Examples:
  $ lictor worker start --pool my-pool          run the flow runs of a process work pool
  $ lictor --profile prod version               what lictor is, and what it talks to
  $ lictor doctor --pool my-pool                what keeps it from working, step by step
  $ lictor config view                          the settings, and where each comes from
  $ lictor cloud login                          a key and a workspace of Prefect Cloud for this profile

Settings come from the environment, .env, prefect.toml, pyproject.toml and the active profile, in this order.
`;

function buildProgram(): Command {
  const program = new Command("lictor")
    .description("A Prefect-compatible worker.")
    .version(lictorVersion, "-v, --version", "Print lictor's version.")
    .option("-p, --profile <name>", "Select a profile for this run.")
    .enablePositionalOptions()
    .showHelpAfterError("(add --help for what is possible)")
    .addHelpText("after", examples)
    .exitOverride();
  const worker = program.command("worker").description("Start and interact with workers.").helpGroup("Run:");
  addWorkerStart(worker);
  addWorkerControl(worker);
  addVersion(program);
  addConfig(program);
  addProfileCommands(program);
  addCloud(program);
  addDoctor(program);
  return program;
}

/** Runs one command line. An error becomes one message on standard error and exit code 1. */
async function main(argv: readonly string[]): Promise<void> {
  try {
    await buildProgram().parseAsync([...argv]);
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
