// The instance directories of one user's lictor processes. Each process has one, which holds its control socket.
import { randomBytes } from "node:crypto";
import { mkdir, readdir, rm, stat } from "node:fs/promises";
import { hostname } from "node:os";
import { dirname, join, resolve } from "node:path";
import { wallClockMs } from "../async/clock.ts";
import { tryExpandUser } from "../settings/paths.ts";
import { isListening } from "./control-connection.ts";

/** An instance directory without a control socket belongs to a dead process once it is older than this. */
const startingMs = 60_000;

/** A lictor process of this host, which may be dead. */
export interface Instance {
  readonly directory: string;
  readonly pid: number;
}

/**
 * Returns the absolute path of lictor's state directory: LICTOR_STATE_DIR, else `lictor` in PREFECT_HOME. Returns null
 * if the path begins with `~` and the user has no home directory.
 */
export function findStateDirectory(
  env: Readonly<Record<string, string | undefined>>,
  prefectHome: string,
): string | null {
  const path = tryExpandUser(env.LICTOR_STATE_DIR || join(prefectHome, "lictor"), env);
  return /^~(\/|$)/.test(path) ? null : resolve(path);
}

/** Creates an instance directory for this process and returns it. Disposing removes it. Throws the system's error. */
export async function createInstance(stateDir: string): Promise<AsyncDisposable & { directory: string }> {
  const name = `${namePrefix()}${process.pid}-${randomBytes(4).toString("hex")}`;
  const directory = join(instancesOf(stateDir), name);
  await makeDirectories(directory);
  return {
    directory,
    [Symbol.asyncDispose]: () => rm(directory, { recursive: true, force: true }),
  };
}

/** Returns the instances of this host, including those of dead processes. Throws the system's error. */
export async function listInstances(stateDir: string): Promise<Instance[]> {
  const root = instancesOf(stateDir);
  const names = await readdir(root).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return [];
    throw error;
  });
  const prefix = namePrefix();
  return names.flatMap((name) => {
    const pid = name.startsWith(prefix) ? /^(\d+)-[0-9a-f]{8}$/.exec(name.slice(prefix.length))?.[1] : undefined;
    return pid === undefined ? [] : [{ directory: join(root, name), pid: Number(pid) }];
  });
}

/** Removes the directories of dead processes of this host. Never throws, because nothing depends on it. */
export async function removeDeadInstances(stateDir: string, signal: AbortSignal): Promise<void> {
  const instances = await listInstances(stateDir).catch(() => []);
  await Promise.all(
    instances.map(async ({ directory }) => {
      if (await isDead(directory, signal)) await rm(directory, { recursive: true, force: true }).catch(() => {});
    }),
  );
}

async function isDead(directory: string, signal: AbortSignal): Promise<boolean> {
  const found = await isListening(directory, signal).catch(() => undefined);
  if (found !== "no socket") return found === "refused";
  const stats = await stat(directory).catch(() => undefined);
  return stats !== undefined && wallClockMs() - stats.mtimeMs > startingMs;
}

function instancesOf(stateDir: string): string {
  return join(stateDir, "instances");
}

/**
 * Returns the first part of the directories' names. Several hosts may share a state directory, for example on NFS. A
 * socket of another host refuses connections although its process lives, so each host looks only at its own.
 */
function namePrefix(): string {
  return `${hostname().replace(/[^A-Za-z0-9.-]/g, "_")}-`;
}

/**
 * Creates a directory and its parents for this user only. Throws the system's error. A recursive `mkdir` of Node.js 20
 * never returns below /proc, because it creates the same directory again and again.
 */
async function makeDirectories(directory: string): Promise<void> {
  const make = async (): Promise<void> => {
    await mkdir(directory, { mode: 0o700 }).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== "EEXIST") throw error;
    });
  };
  await make().catch(async (error: NodeJS.ErrnoException) => {
    if (error.code !== "ENOENT" || dirname(directory) === directory) throw error;
    await makeDirectories(dirname(directory));
    await make();
  });
}
