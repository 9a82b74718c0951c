// Prints the output of commands and asks questions on a terminal.
import { createInterface } from "node:readline";
import { Writable } from "node:stream";
import { DEFINITIONS } from "../settings/definitions.ts";
import { parseValue } from "../settings/parse.ts";

/** Writes lines to standard output. */
export function print(...lines: readonly string[]): void {
  process.stdout.write(lines.map((line) => `${line}\n`).join(""));
}

/** Writes a value as JSON, with the indentation of Prefect. */
export function printJson(value: unknown): void {
  print(JSON.stringify(value, null, 2));
}

/** Returns true if questions can be asked: PREFECT_CLI_PROMPT, or else whether there is a terminal. */
export function isInteractive(env: Readonly<Record<string, string | undefined>>): boolean {
  const wish = parseValue(DEFINITIONS.PREFECT_CLI_PROMPT, env.PREFECT_CLI_PROMPT);
  return wish ?? (process.stdin.isTTY === true && process.stdout.isTTY === true);
}

/** Asks until the answer is yes or no. Returns true for yes. An empty answer is no. Throws at the end of the input. */
export async function confirm(question: string): Promise<boolean> {
  for (;;) {
    const answer = await ask(`${question} [y/N]: `);
    if (/^(y|yes)$/i.test(answer)) return true;
    if (/^(n|no|)$/i.test(answer)) return false;
  }
}

/** Asks for a secret and returns it. Does not show the typed text. Throws at the end of the input. */
export async function askHidden(question: string): Promise<string> {
  const nowhere = new Writable({ write: (_chunk, _encoding, done) => done() });
  process.stdout.write(question);
  try {
    return await ask("", nowhere);
  } finally {
    process.stdout.write("\n");
  }
}

/** Asks the user to pick an option by its number, and returns the option. Throws at the end of the input. */
export async function choose<T>(question: string, options: readonly T[], label: (option: T) => string): Promise<T> {
  print(question, ...options.map((option, index) => `${String(index + 1).padStart(4)}  ${label(option)}`));
  for (;;) {
    const answer = await ask(`Number (1 to ${options.length}): `);
    const option = /^\d+$/.test(answer) ? options[Number(answer) - 1] : undefined;
    if (option !== undefined) return option;
  }
}

/** Asks for a line of text and returns it without spaces around it. Throws at the end of the input. */
export async function ask(question: string, output: NodeJS.WritableStream = process.stdout): Promise<string> {
  const lines = createInterface({ input: process.stdin, output, terminal: process.stdin.isTTY === true });
  try {
    return await new Promise<string>((resolve, reject) => {
      // Ctrl-C and Ctrl-D close the interface.
      lines.once("close", () => reject(new Error("Aborted.")));
      lines.question(question, (answer) => resolve(answer.trim()));
    });
  } finally {
    lines.close();
  }
}
