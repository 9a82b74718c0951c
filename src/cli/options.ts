// Options that several commands have.
import { type Command, InvalidArgumentError } from "commander";
import type { SettingsInput } from "../settings/load.ts";
import { settingsInput } from "./program-context.ts";

/** What `withOutput` adds. */
export interface OutputOption {
  output?: "json";
}

/** A command that takes `--profile` behind its name too. */
export function addCommand(parent: Command, nameAndArguments: string, description: string): Command {
  return parent
    .command(nameAndArguments)
    .description(description)
    .option("--profile <name>", "Select a profile for this run.");
}

/** The profile that is selected for this run, before the command's name or behind it. */
export function profileOf(command: Command): { profile?: string } {
  return command.optsWithGlobals<{ profile?: string }>();
}

/** What a command loads settings from. */
export function inputOf(command: Command): SettingsInput {
  return settingsInput(profileOf(command));
}

/** Adds `--output json`. */
export function withOutput(command: Command): Command {
  return command.option("-o, --output <format>", "Specify an output format. Currently supports: json.", (format) => {
    if (format.toLowerCase() === "json") return "json";
    throw new InvalidArgumentError("Only 'json' output format is supported.");
  });
}
