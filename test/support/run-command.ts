// One program, run to its end, with what it printed.
import { spawn } from "node:child_process";
import { once } from "node:events";

/** How a program ended. `code` is null after a signal. */
export interface CommandResult {
  code: number | null;
  stdout: string;
  stderr: string;
}

/** Runs a program without a shell and without input; rejects only if it cannot be started. */
export async function runCommand(
  command: string,
  args: readonly string[],
  options: { env?: NodeJS.ProcessEnv; cwd?: string } = {},
): Promise<CommandResult> {
  const child = spawn(command, args, { ...options, stdio: ["ignore", "pipe", "pipe"] });
  const result: CommandResult = { code: null, stdout: "", stderr: "" };
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    result.stdout += text;
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    result.stderr += text;
  });
  [result.code] = (await once(child, "close")) as [number | null];
  return result;
}

/** Runs a program and throws with its words if it fails. */
export async function runOrThrow(command: string, args: readonly string[]): Promise<void> {
  const { code, stderr } = await runCommand(command, args);
  if (code !== 0) throw new Error(`${command} ${args.join(" ")}: exit ${code}\n${stderr}`);
}

/** Returns whether a program is on PATH. */
export async function isInstalled(program: string): Promise<boolean> {
  return (await runCommand("sh", ["-c", `command -v ${program}`])).code === 0;
}
