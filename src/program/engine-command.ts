// Whether a command of a job configuration may start a Prefect engine. Only an engine has hooks to be run.
import { type FileHandle, open } from "node:fs/promises";
import { findProgram } from "../process/find-program.ts";

/** Programs that start what a file, a project or an image says, and so possibly an engine. */
const starters = new Set(
  (
    "make just task tox nox invoke uv uvx pipx poetry pipenv hatch pdm pixi rye conda mamba micromamba " +
    "docker podman nerdctl apptainer singularity source eval"
  ).split(" "),
);
const scriptName = /\.(sh|bash|zsh|ksh|fish|py|pyz|pex)$/i;
const python = /^python[\d.]*$/;

/**
 * Whether the command may start a Prefect engine: `python -m prefect.engine`, `prefect flow-run execute`, the same inside
 * `uv run` or `sh -c`, and everything that cannot be seen through, such as a script or `make`. False only for a command
 * that clearly is something else, such as `sleep 60`. `cwd` is absolute, `env` holds the PATH. Never throws.
 */
export async function mayStartEngine(
  command: readonly string[],
  { cwd, env }: { cwd: string; env: Readonly<Record<string, string>> },
): Promise<boolean> {
  if (command.some((word) => /prefect/i.test(word)) || isOpaque(command)) return true;
  return await isScript(await findProgram(command[0] ?? "", { cwd, env }));
}

/** The words of a command, those of a command line for a shell's `-c` among them: there it is a single one. */
export function commandWords(command: readonly string[]): string[] {
  return command.flatMap((word) => word.split(/[\s;&|()`'"]+/)).filter((word) => word !== "");
}

/** Whether some word names a program or a script that decides by itself what it starts. */
function isOpaque(command: readonly string[]): boolean {
  const words = commandWords(command);
  return words.some((word, index) => {
    const name = word.slice(word.lastIndexOf("/") + 1);
    const startsModule = python.test(name) && words[index + 1]?.startsWith("-m");
    return starters.has(name) || scriptName.test(name) || startsModule || word === ".";
  });
}

/** Whether the program is a text for an interpreter, as the programs that Python packages install are. */
async function isScript(program: string | undefined): Promise<boolean> {
  if (program === undefined) return false;
  let handle: FileHandle | undefined;
  try {
    handle = await open(program);
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(2), 0, 2, 0);
    return buffer.toString("latin1", 0, bytesRead) === "#!";
  } catch {
    // It may be executed but not read.
    return true;
  } finally {
    await handle?.close();
  }
}
