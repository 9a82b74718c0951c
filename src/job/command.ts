// Splits a command line into the program and its arguments.

/** The error for a command with an open quote, or with a backslash at its end. */
export class CommandError extends Error {
  override readonly name = "CommandError";
}

// A word is a sequence of pieces without a blank between them. `stray` is a quote or backslash that begins no piece.
const pieces =
  /(?<blank>[ \t\r\n]+)|\\(?<escaped>[\s\S])|'(?<single>[^']*)'|"(?<double>(?:\\[\s\S]|[^\\"])*)"|(?<plain>[^ \t\r\n\\'"]+)|(?<stray>[\s\S])/g;

/**
 * Returns the words of a command. Splits like a POSIX shell, without expansions and comments. A blank command has no words.
 * Throws CommandError. Source: prefect utilities/processutils command_from_string, which is Python's shlex.split.
 */
export function splitCommand(command: string): string[] {
  const words: string[] = [];
  let word: string | undefined;
  for (const { groups = {} } of command.matchAll(pieces)) {
    const { escaped, single, double, plain, stray } = groups;
    if (stray !== undefined) {
      throw new CommandError(stray === "\\" ? "The command ends in a backslash." : `The command has an open ${stray}.`);
    }
    const text = escaped ?? single ?? double?.replace(/\\(["\\])/g, "$1") ?? plain;
    if (text !== undefined) word = (word ?? "") + text;
    else if (word !== undefined) words.push(word);
    if (text === undefined) word = undefined;
  }
  return word === undefined ? words : [...words, word];
}
