// A user's home and working directory for one command line, for lictor and for Prefect.
import { mkdir, readFile, stat, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { cleanEnvironment } from "../support/clean-environment.ts";
import { runLictor } from "../support/lictor.ts";
import type { PrefectCommand } from "../support/prefect-commands.ts";
import type { CommandResult } from "../support/run-command.ts";
import { makeTemporaryDirectory } from "../support/temporary-directory.ts";

export interface UserHome extends AsyncDisposable {
  /** HOME and the working directory; PREFECT_HOME is `.prefect` in it. */
  path: string;
  /** Path of profiles.toml. */
  profilesFile: string;
  /** What a process in this home gets as its environment. */
  env(extra?: Readonly<Record<string, string>>): Record<string, string>;
  lictor(args: readonly string[], env?: Record<string, string>): Promise<CommandResult>;
  /** The same command line for Prefect. */
  prefect(args: readonly string[], env?: Record<string, string>): PrefectCommand;
  readProfiles(): Promise<string>;
  /** Permissions of profiles.toml and its folder, in octal. */
  modes(): Promise<[file: string, folder: string]>;
}

/** Creates a home with these files, by path below it. */
export async function makeHome(files: Readonly<Record<string, string | Uint8Array>> = {}): Promise<UserHome> {
  const temporary = await makeTemporaryDirectory("lictor-user-");
  const { path } = temporary;
  const profilesFile = join(path, ".prefect/profiles.toml");
  for (const [name, content] of Object.entries(files)) {
    await mkdir(dirname(join(path, name)), { recursive: true });
    await writeFile(join(path, name), content);
  }
  const own = { HOME: path, PREFECT_HOME: join(path, ".prefect") };
  const env = (extra: Readonly<Record<string, string>> = {}) => cleanEnvironment({ ...own, ...extra });
  const mode = async (file: string) => ((await stat(file)).mode & 0o777).toString(8);
  return {
    path,
    profilesFile,
    env,
    lictor: (args, extra = {}) => runLictor(args, { cwd: path, env: { ...own, ...extra } }),
    prefect: (args, extra) => ({ args, env: env(extra), cwd: path }),
    readProfiles: () => readFile(profilesFile, "utf8"),
    modes: async () => [await mode(profilesFile), await mode(dirname(profilesFile))],
    [Symbol.asyncDispose]: () => temporary[Symbol.asyncDispose](),
  };
}
