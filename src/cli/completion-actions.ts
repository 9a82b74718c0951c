// What `lictor completion` and `lictor complete` do.
import type { Argument, Command, Option } from "commander";
import { findPlace, type Place } from "./completion-place.ts";
import { completionScripts, type Shell } from "./completion-scripts.ts";
import { type ValueKind, valuesOf } from "./completion-values.ts";
import { print } from "./terminal.ts";

/** A shell that reads this line completes the paths of files. */
const files = ":files";

/** A text that can follow, and what it means. */
type Candidate = readonly [text: string, meaning: string];

/** `completion`: prints the script of a shell. */
export function printScript(shell: Shell): void {
  process.stdout.write(completionScripts[shell]);
}

/** `complete`: prints what can follow the words, one per line with its meaning. Prints nothing if something fails. */
export async function complete(program: Command, words: readonly string[]): Promise<void> {
  const place = findPlace(program, words);
  const candidates = await candidatesAt(place).catch(() => []);
  const fitting = candidates.filter(([text]) => text === files || text.startsWith(place.current));
  print(...fitting.map(([text, meaning]) => (meaning ? `${text}\t${meaning}` : text)));
}

async function candidatesAt(place: Place): Promise<Candidate[]> {
  const { command, option, current, isAfterDashes, argumentsBefore } = place;
  if (option) return await valuesFor(place, option.argChoices, optionKind(command, option), option.flags);
  if (current.startsWith("-") && !isAfterDashes) return optionsOf(command);
  const helper = command.createHelp();
  const commands = helper.visibleCommands(command).map((each): Candidate => [each.name(), each.description()]);
  if (command.commands.length > 0) return commands;
  const { registeredArguments } = command;
  const last = registeredArguments.at(-1);
  const argument = registeredArguments[argumentsBefore] ?? (last?.variadic ? last : undefined);
  if (!argument) return [];
  return await valuesFor(place, argument.argChoices, argumentKind(command, argument), argument.name());
}

function optionsOf(command: Command): Candidate[] {
  const options = command.createHelp().visibleOptions(command);
  return options.map(({ long, short, description }): Candidate => [long ?? short ?? "", description]);
}

async function valuesFor(
  { given }: Place,
  choices: readonly string[] | undefined,
  kind: ValueKind | undefined,
  name: string,
): Promise<Candidate[]> {
  if (choices) return choices.map((choice): Candidate => [choice, ""]);
  if (kind === undefined) return /path|file|director/.test(name) ? [[files, ""]] : [];
  const names = { profile: given.get("profile")?.at(-1), pools: given.get("pool") ?? [] };
  return (await valuesOf(kind, names)).map((value): Candidate => [value, ""]);
}

const optionKinds: Readonly<Record<string, ValueKind>> = {
  pool: "pool",
  workQueue: "queue",
  profile: "profile",
  from: "profile",
  type: "poolType",
};

function optionKind(command: Command, option: Option): ValueKind | undefined {
  return command.parent === null && option.attributeName() !== "profile"
    ? undefined
    : optionKinds[option.attributeName()];
}

/** An argument is what its name says; a `name` is that of the group: `profile use <name>`. */
function argumentKind(command: Command, argument: Argument): ValueKind | undefined {
  const group = command.parent?.name();
  switch (argument.name()) {
    case "name":
      return { profile: "profile", "work-pool": "pool", worker: "worker" }[group ?? ""] as ValueKind | undefined;
    case "deployment":
      return "deployment";
    case "names":
      return "setting";
    case "settings":
      return "assignment";
    default:
      return undefined;
  }
}
