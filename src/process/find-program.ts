// Finds the file of a program, as the system does.
import { access, constants } from "node:fs/promises";
import { delimiter, resolve } from "node:path";

/**
 * Returns the absolute path of the program that `name` starts; undefined if there is no executable file. A name with a
 * slash is a path; any other is looked for in the PATH of `env`. Relative paths begin at `cwd`, which is absolute.
 */
export async function findProgram(
  name: string,
  { cwd, env }: { cwd: string; env: Readonly<Record<string, string | undefined>> },
): Promise<string | undefined> {
  if (name === "") return undefined;
  const directories = name.includes("/") ? [cwd] : (env.PATH ?? "").split(delimiter).map((path) => resolve(cwd, path));
  for (const directory of directories) {
    const file = resolve(directory, name);
    const isExecutable = await access(file, constants.X_OK).then(
      () => true,
      () => false,
    );
    if (isExecutable) return file;
  }
  return undefined;
}
