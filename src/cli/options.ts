// What the definitions of several commands share. The actions are in files of their own, which are loaded on use.
import { type Command, InvalidArgumentError } from "commander";

/** The option that `withOutput` adds. */
export interface OutputOption {
  output?: "json";
}

/** Adds a command that also accepts `--profile` after its name. Returns the command. */
export function addCommand(parent: Command, nameAndArguments: string, description: string): Command {
  return parent
    .command(nameAndArguments)
    .description(description)
    .option("--profile <name>", "Select a profile for this run.");
}

/** Returns the profile that the command line selects, before or after the command's name. */
export function profileOf(command: Command): { profile?: string } {
  return command.optsWithGlobals<{ profile?: string }>();
}

/** Adds the option `--output json`. Returns the command. */
export function withOutput(command: Command): Command {
  return command.option("-o, --output <format>", "Specify an output format. Currently supports: json.", (format) => {
    if (format.toLowerCase() === "json") return "json";
    throw new InvalidArgumentError("Only 'json' output format is supported.");
  });
}
