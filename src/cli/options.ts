// What the definitions of several commands share. The actions are in files of their own, which are loaded on use.
import { type Command, InvalidArgumentError } from "commander";
import { isPoolName } from "./pool-name.ts";

/** What the option --help says of itself. */
export const helpText = "Print this help.";

/** The option that `withOutput` adds. */
export interface OutputOption {
  output?: "json" | undefined;
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

/** Collects the values of an option that may be given several times. */
export function collect(value: string, previous: readonly string[] = []): string[] {
  return [...previous, value];
}

/** Parses the name of a work pool. */
export function poolName(text: string): string {
  if (isPoolName(text)) return text;
  throw new InvalidArgumentError("Expected the name of a work pool, which has none of / % & > <.");
}

/** Returns a parser of whole numbers from `least` to `most`. */
export function wholeNumber(least: number, most = Number.MAX_SAFE_INTEGER): (text: string) => number {
  return (text) => {
    const value = /^\s*\d+\s*$/.test(text) ? Number(text) : Number.NaN;
    if (!Number.isSafeInteger(value) || value < least || value > most) {
      const range = most === Number.MAX_SAFE_INTEGER ? `of at least ${least}` : `from ${least} to ${most}`;
      throw new InvalidArgumentError(`Expected a whole number ${range}.`);
    }
    return value;
  };
}
