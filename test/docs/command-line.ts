// Checks command lines of lictor that stand in documents.
import { type Command, CommanderError } from "commander";
import { buildProgram } from "../../src/cli/program.ts";

/** Returns what is wrong with a command line, or null. Words in capitals and `…` stand for values. */
export function findMistake(line: string): string | null {
  let command: Command = buildProgram();
  const words = line.split(/\s+/).slice(1);
  for (let index = 0; index < words.length; index++) {
    const [word = "", value] = (words[index] ?? "").split("=");
    // What follows is the command line of another program.
    if (word === "--") break;
    if (word.startsWith("-")) {
      if (word === "--help" || word === "-h") continue;
      const option = command.options.find(({ long, short }) => long === word || short === word);
      if (!option) return `${command.name()} has no option ${word}`;
      if (option.required && value === undefined) index++;
      continue;
    }
    if (command.commands.length === 0) continue;
    const names = word.split("|");
    const found = command.commands.find((each) => [each.name(), ...each.aliases()].includes(names[0] ?? ""));
    // Text such as "lictor COMMAND".
    if (!found) return /^[a-z]/.test(word) ? `${command.name()} has no command ${word}` : null;
    for (const name of names) {
      const isKnown = command.commands.some((each) => [each.name(), ...each.aliases()].includes(name));
      if (!isKnown) return `${command.name()} has no command ${name}`;
    }
    command = found;
  }
  return null;
}

/** Returns why the program refuses these words, or null. It parses them as always, but no command does anything. */
export async function findRefusal(words: readonly string[]): Promise<string | null> {
  const program = buildProgram(words);
  disarm(program);
  try {
    await program.parseAsync([...words], { from: "user" });
    return null;
  } catch (error) {
    if (error instanceof CommanderError) return error.message;
    throw error;
  }
}

function disarm(command: Command): void {
  command.configureOutput({ writeErr: () => {}, writeOut: () => {} });
  if (command.commands.length === 0) command.action(() => {});
  for (const each of command.commands) disarm(each);
}
