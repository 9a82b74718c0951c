// Where a program lies, as the system would look for it.
import { access, constants } from "node:fs/promises";
import { delimiter, resolve } from "node:path";

/**
 * The absolute path of the program that `name` starts: itself where it has a slash, else by the PATH of `env`. Relative
 * paths begin at `cwd`, which is absolute. Undefined where there is none that may be executed.
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
