// The Python environment with Prefect, the locked release or an older one: server, reference worker and engine.
import { access, mkdir, readdir, readlink, realpath, rm, symlink } from "node:fs/promises";
import { basename, join, relative } from "node:path";
import { inCheckout } from "./checkout.ts";
import { type FoundPython, findPython } from "./find-python.ts";
import {
  dockerWorkerPackages,
  kubernetesWorkerPackages,
  type PrefectPackages,
  prefectPackages,
} from "./prefect-packages.ts";
import { isAlive } from "./processes.ts";
import { type CommandResult, runCommand } from "./run-command.ts";
import { withProgress } from "./with-progress.ts";

/** A ready environment: its interpreter and the folder of its programs (`prefect` among them). */
export interface PythonEnvironment {
  python: string;
  bin: string;
}

const CACHE = inCheckout(".cache");
const PROGRAMS = process.platform === "win32" ? "Scripts" : "bin";

// Installs the lock in a fifth of pip's time.
const UV = "uv==0.13.9";

/**
 * The environment with this release of Prefect, by default that of LICTOR_TEST_PREFECT, else the locked one; installed
 * below .cache/ if it is not there yet. Throws MissingPythonError, or an error with the installer's last words.
 */
export async function ensurePythonEnvironment(
  log: (line: string) => void,
  release = process.env.LICTOR_TEST_PREFECT,
): Promise<PythonEnvironment> {
  return await ensureEnvironment(await prefectPackages(release), log);
}

/** The environment with the reference's docker worker, of the locked release of Prefect. */
export async function ensureDockerWorker(log: (line: string) => void): Promise<PythonEnvironment> {
  return await ensureEnvironment(await dockerWorkerPackages(), log);
}

/** The environment with the reference's kubernetes worker, of the locked release of Prefect. */
export async function ensureKubernetesWorker(log: (line: string) => void): Promise<PythonEnvironment> {
  return await ensureEnvironment(await kubernetesWorkerPackages(), log);
}

async function ensureEnvironment(packages: PrefectPackages, log: (line: string) => void): Promise<PythonEnvironment> {
  const link = join(CACHE, packages.name);
  const ready = await findReady(link);
  if (ready !== undefined) return ready;
  await mkdir(CACHE, { recursive: true });
  await removeLeftovers(link);
  return await build(link, await findPython(process.env), packages, log);
}

/** What the link leads to, unless there is none or the Python below it has been uninstalled. */
async function findReady(link: string): Promise<PythonEnvironment | undefined> {
  const directory = await realpath(link).catch(() => undefined);
  if (directory === undefined) return undefined;
  const environment = describe(directory);
  return await access(environment.python).then(
    () => environment,
    () => undefined,
  );
}

function describe(directory: string): PythonEnvironment {
  const bin = join(directory, PROGRAMS);
  return { bin, python: join(bin, process.platform === "win32" ? "python.exe" : "python") };
}

/**
 * Each process builds in a folder of its own, since a venv cannot be moved, and publishes it by one symlink.
 * So an interrupted build is never taken for a complete one, and of two at once the first wins.
 */
async function build(
  link: string,
  found: FoundPython,
  packages: PrefectPackages,
  log: (line: string) => void,
): Promise<PythonEnvironment> {
  const directory = `${link}.${process.pid}`;
  const environment = describe(directory);
  await rm(directory, { recursive: true, force: true });
  const creation = `Creating a Python ${found.version} environment in ${relative(process.cwd(), link)}`;
  await withProgress(log, creation, runOrThrow(found.executable, ["-m", "venv", directory]));
  await withProgress(log, `Installing ${packages.what}`, install(environment.python, packages));
  try {
    await symlink(basename(directory), link, "junction");
    return environment;
  } catch (error) {
    const winner = await findReady(link);
    if (winner === undefined) throw error;
    await rm(directory, { recursive: true, force: true });
    return winner;
  }
}

/** Falls back to pip where uv is not to be had, or does not see an index that only pip is configured for. */
async function install(python: string, packages: PrefectPackages): Promise<void> {
  const pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
  const uv = ["-m", "uv", "pip", "install", "--quiet", "--python", python, "--compile-bytecode", ...packages.uv];
  try {
    await runOrThrow(python, [...pip, UV]);
    await runOrThrow(python, uv);
  } catch (error) {
    if (packages.pip === undefined) throw error;
    await runOrThrow(python, [...pip, ...packages.pip]);
  }
}

async function runOrThrow(command: string, args: readonly string[]): Promise<CommandResult> {
  const result = await runCommand(command, args);
  if (result.code === 0) return result;
  const lastWords = `${result.stdout}${result.stderr}`.trim().split("\n").slice(-15).join("\n");
  throw new Error(`${command} ${args.join(" ")}: exit ${result.code}\n${lastWords}`);
}

/** Removes the link if its folder is gone, and what interrupted builds of processes that are no more left behind. */
async function removeLeftovers(link: string): Promise<void> {
  if ((await findReady(link)) === undefined) await rm(link, { force: true });
  for (const name of await readdir(CACHE)) {
    const owner = /-[0-9a-f]{12}\.(\d+)$/.exec(name)?.[1];
    const published = await readlink(join(CACHE, name.replace(/\.\d+$/, ""))).catch(() => "");
    if (owner === undefined || isAlive(Number(owner)) || basename(published) === name) continue;
    // Another process may be at it too, or an orphaned installer still write: then the rest goes next time.
    await rm(join(CACHE, name), { recursive: true, force: true }).catch(() => undefined);
  }
}
