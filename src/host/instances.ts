// The instance directories of one user's lictor processes. Each process has one. It holds the control socket and the journal.
// A process that listens on the socket is alive, so there is no pid file.
import { readdir, rm, rmdir, stat } from "node:fs/promises";
import { hostname } from "node:os";
import { basename, join, resolve } from "node:path";
import { wallClockMs } from "../async/clock.ts";
import { makePrivateDirectories } from "../journal/journal-files.ts";
import { randomHex } from "../random-ids.ts";
import { tryExpandUser } from "../settings/paths.ts";
import { isListening } from "./control-connection.ts";

/** An instance directory without a socket and without records belongs to a dead process once it is older than this. */
const startingMs = 60_000;

/** The directories of this process. It knows without a question that it is alive. */
const own = new Set<string>();

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

/**
 * Creates an instance directory for this process and returns it. Disposing removes it, unless it still has records. Throws
 * the system's error.
 */
export async function createInstance(stateDir: string): Promise<AsyncDisposable & { directory: string }> {
  const name = `${namePrefix()}${process.pid}-${randomHex(8)}`;
  const directory = join(instancesOf(stateDir), name);
  await makePrivateDirectories(directory);
  own.add(directory);
  const remove = async (): Promise<void> => {
    own.delete(directory);
    await removeInstance(directory);
  };
  return { directory, [Symbol.asyncDispose]: remove };
}

/** Returns the directory of the journal of an instance. */
export function journalOf(instanceDirectory: string): string {
  return join(instanceDirectory, "runs");
}

/** Returns the directory for records that cannot be read. */
export function unreadableRecordsOf(stateDir: string): string {
  return join(stateDir, "unreadable");
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

/**
 * Removes the directories of dead processes of this host that have no records any more. Never throws, because nothing
 * depends on it.
 */
export async function removeDeadInstances(stateDir: string, signal: AbortSignal): Promise<void> {
  const dead = await findDeadInstances(stateDir, signal).catch(() => []);
  await Promise.all(dead.map((directory) => removeInstance(directory).catch(() => undefined)));
}

/** Returns the directories of dead processes of this host. Throws the system's error. */
export async function findDeadInstances(stateDir: string, signal: AbortSignal): Promise<string[]> {
  return (await sortInstances(stateDir, signal)).dead;
}

/** Returns the names of the instances of this host that are alive. Throws the system's error. */
export async function listLivingInstances(stateDir: string, signal: AbortSignal): Promise<string[]> {
  return (await sortInstances(stateDir, signal)).living.map((directory) => basename(directory));
}

async function sortInstances(stateDir: string, signal: AbortSignal): Promise<Record<"living" | "dead", string[]>> {
  const sorted: Record<"living" | "dead", string[]> = { living: [], dead: [] };
  await Promise.all(
    (await listInstances(stateDir)).map(async ({ directory }) => {
      sorted[(await isDead(directory, signal)) ? "dead" : "living"].push(directory);
    }),
  );
  return sorted;
}

async function isDead(directory: string, signal: AbortSignal): Promise<boolean> {
  if (own.has(directory)) return false;
  const found = await isListening(directory, signal).catch(() => undefined);
  if (found !== "no socket") return found === "refused";
  // A process writes no record before it listens.
  if ((await readdir(journalOf(directory)).catch(() => [])).length > 0) return true;
  const stats = await stat(directory).catch(() => undefined);
  return stats !== undefined && wallClockMs() - stats.mtimeMs > startingMs;
}

/** Removes an instance directory. One with records stays for the next worker of their pool. Throws the system's error. */
async function removeInstance(directory: string): Promise<void> {
  const hasRecords = await rmdir(journalOf(directory)).then(
    () => false,
    ({ code }: NodeJS.ErrnoException) => code === "ENOTEMPTY" || code === "EEXIST",
  );
  if (!hasRecords) await rm(directory, { recursive: true, force: true });
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
