// Projects whose dependencies `uv run` installs before the engine starts, asked for by
// PREFECT_RUNNER_AUTO_INSTALL_DEPENDENCIES. Source: prefect runner/_uv_command.py.
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { parse } from "smol-toml";
import { findProgram } from "../process/find-program.ts";
import { pythonBoolean } from "../python-boolean.ts";

/** The path of uv, where the flow run's environment asks for the installation of dependencies and has uv on its PATH. */
export async function findWantedUv(env: Readonly<Record<string, string>>): Promise<string | undefined> {
  return pythonBoolean(env.PREFECT_RUNNER_AUTO_INSTALL_DEPENDENCIES)
    ? await findProgram("uv", { cwd: "/", env })
    : undefined;
}

/** True when the directory has a pyproject.toml whose own dependencies name Prefect; any other is not for engines. */
export async function isPrefectProject(directory: string): Promise<boolean> {
  try {
    const text = await readFile(join(directory, "pyproject.toml"), "utf8");
    // Without it a single integer above 2 ** 53, in anybody's table, makes the file invalid.
    const { project } = parse(text, { integersAsBigInt: "asNeeded" });
    const dependencies: unknown = typeof project === "object" && "dependencies" in project ? project.dependencies : [];
    return Array.isArray(dependencies) && dependencies.some(namesPrefect);
  } catch {
    // Missing, unreadable or not TOML: the engine starts without it.
    return false;
  }
}

/** What starts Python in the environment of a project. */
export function projectPython(uv: string, directory: string): string[] {
  return [uv, "run", "--no-default-groups", "--project", directory, "python"];
}

/** A requirement is a name and, after it, extras, versions, an address or a marker. Source: PEP 508. */
function namesPrefect(requirement: unknown): boolean {
  return typeof requirement === "string" && /^\s*prefect\s*($|[[(<>=!~;@])/i.test(requirement);
}
