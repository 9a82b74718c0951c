// The real `prefect` on the command line, many commands for the start-up time of one.
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { inCheckout } from "./checkout.ts";
import { cleanEnvironment } from "./clean-environment.ts";
import { type CommandResult, runCommand } from "./run-command.ts";
import { makeTemporaryDirectory } from "./temporary-directory.ts";

/** One command; `env` is all of its environment. */
export interface PrefectCommand {
  args: readonly string[];
  env: Readonly<Record<string, string>>;
  cwd: string;
}

/** Runs the commands one after the other with the Prefect of this Python. */
export async function runPrefectCommands(
  python: string,
  commands: readonly PrefectCommand[],
): Promise<CommandResult[]> {
  await using home = await makeTemporaryDirectory("prefect-home-");
  const file = join(home.path, "commands.json");
  await writeFile(file, JSON.stringify(commands));
  const script = inCheckout("test/fixtures/programs/prefect_commands.py");
  const env = cleanEnvironment({ HOME: home.path, PREFECT_HOME: home.path });
  const { code, stdout, stderr } = await runCommand(python, [script, file], { env, cwd: home.path });
  if (code !== 0) throw new Error(`prefect_commands.py: exit ${code}\n${stderr}`);
  return JSON.parse(stdout) as CommandResult[];
}
