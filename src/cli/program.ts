// The program with its commands. What a command does is loaded on use.
import { Command, Option } from "commander";
import { lictorVersion } from "../version.ts";
import { addCloud } from "./cloud.ts";
import { addCompletion } from "./completion.ts";
import { addConfig } from "./config.ts";
import { addDeploy } from "./deploy.ts";
import { addDoctor } from "./doctor.ts";
import { addFlowRun } from "./flow-run.ts";
import { nearestCommand } from "./nearest-command.ts";
import { helpText } from "./options.ts";
import { addProfileCommands } from "./profile.ts";
import { addVersion } from "./version.ts";
import { addWorkPool } from "./work-pool.ts";
import { addWorkerControl } from "./worker-control.ts";
import { addWorkerStart } from "./worker-start-command.ts";

const examples = `
Examples:
  $ lictor worker start --pool my-pool          run the flow runs of a process work pool
  $ lictor deploy hello --pool p -- echo hello  a deployment that runs any program
  $ lictor run hello --watch                    a flow run of it, until its end
  $ lictor --profile prod version               what lictor is, and what it talks to
  $ lictor doctor --pool my-pool                what keeps it from working, step by step
  $ lictor config view                          the settings, and where each comes from
  $ lictor cloud login                          a key and a workspace of Prefect Cloud for this profile

Settings come from the environment, .env, prefect.toml, pyproject.toml and the active profile, in this order.
`;

/** A command that prints its help if it is a group and none of its commands is named. This is no error, as with Prefect. */
class LictorCommand extends Command {
  override createCommand(name?: string): Command {
    return new LictorCommand(name);
  }

  override help(_context?: unknown): never {
    return super.help();
  }
}

/** What adds the commands beside those of `worker`. */
const others = [
  addDeploy,
  addWorkPool,
  addFlowRun,
  addVersion,
  addConfig,
  addProfileCommands,
  addCloud,
  addDoctor,
  addCompletion,
];

/**
 * Returns the program. `words` is the command line without the name of the program, from which mistakes are explained. A
 * command line of workers gets no other commands, because their definitions would delay the start of a worker.
 */
export function buildProgram(words: readonly string[] = []): Command {
  const program = new LictorCommand("lictor")
    .description("A Prefect-compatible worker.")
    .version(lictorVersion, "-v, --version", "Print lictor's version.")
    .option("-p, --profile <name>", "Select a profile for this run.")
    .addOption(noColorOption())
    .helpOption("-h, --help", helpText)
    .helpCommand("help [command]", "Print the help of a command.")
    .enablePositionalOptions()
    .configureOutput({ outputError: (text, write) => write(explainUnknown(text, words)) })
    .showSuggestionAfterError(false)
    .showHelpAfterError("(add --help for what is possible)")
    .addHelpText("after", examples)
    .exitOverride();
  const worker = program.command("worker").description("Start and interact with workers.").helpGroup("Run:");
  addWorkerStart(worker);
  addWorkerControl(worker);
  if (words[0] !== worker.name()) for (const add of others) add(program);
  for (const command of visibleCommands(program)) {
    if (command.commands.length === 0) command.addOption(noColorOption());
  }
  return program;
}

/** Returns a command and all commands below it that the help shows, without `help` itself. */
export function visibleCommands(command: Command): Command[] {
  const shown = command.createHelp().visibleCommands(command);
  return [command, ...command.commands.filter((each) => shown.includes(each)).flatMap(visibleCommands)];
}

/** Returns the words by which a command is started, without the name of the program: `worker start`. */
export function commandPath(command: Command): string {
  return command.parent ? `${commandPath(command.parent)} ${command.name()}`.trim() : "";
}

/**
 * Returns the option `--no-color`. Commander would give a program and its command the value `true` by default, and that of
 * the program would win. So this is no negation, but an option with the name `noColor`.
 */
function noColorOption(): Option {
  return Object.assign(new Option("--no-color", "Print no colours, as with the variable NO_COLOR."), { negate: false });
}

/** Returns the command line with `--pool` if a command of workers was given the name of a pool without it, else null. */
function forgottenPool(message: string, words: readonly string[]): string | null {
  const [group = "", command = "", name, ...others] = words;
  const isForgotten = message.startsWith(`error: too many arguments for '${command}'`) && group === "worker";
  if (!isForgotten || name === undefined || name.startsWith("-")) return null;
  return ["worker", command, "--pool", name, ...others].join(" ");
}

/** Returns the message with the command that was probably meant, if it is about an unknown command. */
function explainUnknown(message: string, words: readonly string[]): string {
  const forgotten = forgottenPool(message, words);
  if (forgotten !== null) return `${message}(Did you mean 'lictor ${forgotten}'?)\n`;
  const unknown = /^error: unknown command '(.*)'/.exec(message)?.[1];
  if (unknown === undefined) return message;
  const nearest = nearestCommand(unknown, words, visibleCommands(buildProgram()).map(commandPath));
  return nearest === undefined ? message : `${message}(Did you mean 'lictor ${nearest}'?)\n`;
}
