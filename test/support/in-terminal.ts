// lictor on a terminal, with somebody who answers.
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { inCheckout } from "./checkout.ts";
import { LICTOR } from "./lictor.ts";
import { runCommand } from "./run-command.ts";
import { makeTemporaryDirectory } from "./temporary-directory.ts";

/** What a user sees; a terminal ends lines with `\r\n`. */
export interface TerminalResult {
  code: number;
  output: string;
}

/** Runs `lictor <args>`; each answer is typed when the text before it has appeared. `env` is the whole environment. */
export async function runInTerminal(
  python: string,
  args: readonly string[],
  { env, cwd, dialogue }: { env: Readonly<Record<string, string>>; cwd: string; dialogue: readonly [string, string][] },
): Promise<TerminalResult> {
  await using folder = await makeTemporaryDirectory("lictor-terminal-");
  const file = join(folder.path, "task.json");
  const command = [...LICTOR, ...args];
  await writeFile(file, JSON.stringify({ command, env, cwd, dialogue }));
  const { code, stdout, stderr } = await runCommand(python, [
    inCheckout("test/fixtures/programs/in_terminal.py"),
    file,
  ]);
  if (code !== 0) throw new Error(`in_terminal.py: exit ${code}\n${stderr}`);
  return JSON.parse(stdout) as TerminalResult;
}
