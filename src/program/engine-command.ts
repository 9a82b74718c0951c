// Decides whether a command of a job configuration may start a Prefect engine. Only an engine's flow has hooks.
import { type FileHandle, open } from "node:fs/promises";
import { findProgram } from "../process/find-program.ts";

/** Programs that start what a file, a project or an image names, which may be an engine. */
const starters = new Set(
  (
    "make just task tox nox invoke uv uvx pipx poetry pipenv hatch pdm pixi rye conda mamba micromamba " +
    "docker podman nerdctl apptainer singularity source eval"
  ).split(" "),
);
const scriptName = /\.(sh|bash|zsh|ksh|fish|py|pyz|pex)$/i;
const python = /^python[\d.]*$/;

/**
 * Returns whether the command may start a Prefect engine. True for `python -m prefect.engine`, `prefect flow-run execute`,
 * and the same inside `uv run` or `sh -c`. True also if the command does not show what it starts, like a script or `make`.
 * False only for any other command, such as `sleep 60`. `cwd` is absolute, `env` holds the PATH. Never throws.
 */
export async function mayStartEngine(
  command: readonly string[],
  { cwd, env }: { cwd: string; env: Readonly<Record<string, string>> },
): Promise<boolean> {
  if (command.some((word) => /prefect/i.test(word)) || isOpaque(command)) return true;
  return await isScript(await findProgram(command[0] ?? "", { cwd, env }));
}

/**
 * Returns whether the command is nothing but the start of a Prefect engine: `python -m prefect.engine` or
 * `prefect flow-run execute`, also inside `uv run`. False for a command line for a shell, because it may do more.
 */
export function isEngine(command: readonly string[]): boolean {
  const engines = [
    ["-m", "prefect.engine"],
    ["prefect", "flow-run", "execute"],
  ];
  const hasWords = (words: readonly string[]): boolean =>
    command.some((_, start) => words.every((word, index) => nameOf(command[start + index] ?? "") === word));
  return engines.some(hasWords);
}

function nameOf(word: string): string {
  return word.slice(word.lastIndexOf("/") + 1);
}

/** Returns the words of a command. A command line for a shell's `-c` is one argument and is split into its words too. */
export function commandWords(command: readonly string[]): string[] {
  return command.flatMap((word) => word.split(/[\s;&|()`'"]+/)).filter((word) => word !== "");
}

/** Returns whether some word names a program or a script that decides by itself what it starts. */
function isOpaque(command: readonly string[]): boolean {
  const words = commandWords(command);
  return words.some((word, index) => {
    const name = nameOf(word);
    const startsModule = python.test(name) && words[index + 1]?.startsWith("-m");
    return starters.has(name) || scriptName.test(name) || startsModule || word === ".";
  });
}

/** Returns whether the program is a script with `#!`, like the programs that Python packages install. */
async function isScript(program: string | undefined): Promise<boolean> {
  if (program === undefined) return false;
  let handle: FileHandle | undefined;
  try {
    handle = await open(program);
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(2), 0, 2, 0);
    return buffer.toString("latin1", 0, bytesRead) === "#!";
  } catch {
    // The file may be executed but not read, so it may be a script.
    return true;
  } finally {
    await handle?.close();
  }
}
