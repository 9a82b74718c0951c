// Projects whose dependencies `uv run` installs before the engine starts, if PREFECT_RUNNER_AUTO_INSTALL_DEPENDENCIES is
// set. Source: prefect runner/_uv_command.py.
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { parse } from "smol-toml";
import { findProgram } from "../process/find-program.ts";
import { pythonBoolean } from "../python-boolean.ts";

/** Returns the path of uv. Undefined if the environment does not ask for dependencies or has no uv on its PATH. */
export async function findWantedUv(env: Readonly<Record<string, string>>): Promise<string | undefined> {
  return pythonBoolean(env.PREFECT_RUNNER_AUTO_INSTALL_DEPENDENCIES)
    ? await findProgram("uv", { cwd: "/", env })
    : undefined;
}

/** Returns whether the directory has a pyproject.toml whose dependencies name Prefect. Other projects have no engine. */
export async function isPrefectProject(directory: string): Promise<boolean> {
  try {
    const text = await readFile(join(directory, "pyproject.toml"), "utf8");
    // Without this option, one integer above 2 ** 53 in any table makes the file invalid.
    const { project } = parse(text, { integersAsBigInt: "asNeeded" });
    const dependencies: unknown = typeof project === "object" && "dependencies" in project ? project.dependencies : [];
    return Array.isArray(dependencies) && dependencies.some(namesPrefect);
  } catch {
    // The file is missing, unreadable or not TOML, so the engine starts without the project.
    return false;
  }
}

/** Returns the command that starts Python in the environment of a project. */
export function projectPython(uv: string, directory: string): string[] {
  return [uv, "run", "--no-default-groups", "--project", directory, "python"];
}

/** A requirement is a name followed by extras, versions, an address or a marker. Source: PEP 508. */
function namesPrefect(requirement: unknown): boolean {
  return typeof requirement === "string" && /^\s*prefect\s*($|[[(<>=!~;@])/i.test(requirement);
}
