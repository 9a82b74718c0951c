// The instance directories of the lictor processes of one user: each process has one, with its control socket in it.
import { randomBytes } from "node:crypto";
import { chmod, mkdir, open, readdir, rm, stat } from "node:fs/promises";
import http from "node:http";
import { join, resolve } from "node:path";
import { wallClockMs } from "../async/clock.ts";

/** What a living process needs at the most to answer on its control socket. */
const answerMs = 5_000;
/** An instance directory without a control socket is that of a process that starts just now, or of one that died. */
const startingMs = 60_000;
/** The longest path of a Unix socket: 108 bytes on Linux, 104 elsewhere, the final zero included. */
const maxSocketPathBytes = process.platform === "linux" ? 107 : 103;

const socketName = "control.sock";

/**
 * The directory for what lictor keeps on disk: LICTOR_STATE_DIR, else `lictor` in PREFECT_HOME. Absolute.
 */
export function stateDirectory(env: Readonly<Record<string, string | undefined>>, prefectHome: string): string {
  return resolve(env.LICTOR_STATE_DIR || join(prefectHome, "lictor"));
}

/** An instance directory of this process. Disposing removes it. Throws the system's error when it cannot be made. */
export async function createInstance(stateDir: string): Promise<AsyncDisposable & { directory: string }> {
  const directory = join(instancesOf(stateDir), `${process.pid}-${randomBytes(4).toString("hex")}`);
  await mkdir(directory, { recursive: true, mode: 0o700 });
  return {
    directory,
    [Symbol.asyncDispose]: () => rm(directory, { recursive: true, force: true }),
  };
}

/** Listens on the control socket of an instance, for its user alone. Throws the system's error. */
export async function listenOnControlSocket(server: http.Server, directory: string): Promise<void> {
  await withSocketPath(directory, async (path) => {
    await new Promise<void>((resolveListening, reject) => {
      server.once("error", reject);
      server.listen(path, resolveListening);
    });
    await chmod(path, 0o600);
  });
}

/** The answer of a control socket. */
export interface ControlResponse {
  status: number;
  body: string;
}

/** Sends a request to the control socket of an instance. Throws the system's error, ECONNREFUSED when it is dead. */
export async function requestControl(directory: string, method: string, path: string): Promise<ControlResponse> {
  return await withSocketPath(directory, (socketPath) => request(socketPath, method, path));
}

async function request(socketPath: string, method: string, path: string): Promise<ControlResponse> {
  return await new Promise((resolveResponse, reject) => {
    const sent = http.request({ socketPath, method, path, timeout: answerMs, agent: false }, async (response) => {
      try {
        let body = "";
        for await (const chunk of response.setEncoding("utf8")) body += chunk;
        resolveResponse({ status: response.statusCode ?? 0, body });
      } catch (error) {
        reject(error);
      }
    });
    sent.on("timeout", () => sent.destroy(new Error(`no answer within ${answerMs / 1000} s`)));
    sent.on("error", reject);
    sent.end();
  });
}

/** The directories of all instances, dead ones included. */
export async function listInstances(stateDir: string): Promise<string[]> {
  const root = instancesOf(stateDir);
  const names = await readdir(root).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return [];
    throw error;
  });
  return names.filter((name) => /^\d+-[0-9a-f]{8}$/.test(name)).map((name) => join(root, name));
}

/** Removes the directories of processes that were killed. Never throws: nothing depends on it. */
export async function removeDeadInstances(stateDir: string): Promise<void> {
  for (const directory of await listInstances(stateDir).catch(() => [])) {
    if (await isDead(directory)) await rm(directory, { recursive: true, force: true }).catch(() => {});
  }
}

async function isDead(directory: string): Promise<boolean> {
  try {
    await requestControl(directory, "GET", "/");
    return false;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ECONNREFUSED") return true;
    if (code !== "ENOENT") return false;
    const found = await stat(directory).catch(() => undefined);
    return found !== undefined && wallClockMs() - found.mtimeMs > startingMs;
  }
}

function instancesOf(stateDir: string): string {
  return join(stateDir, "instances");
}

/**
 * Calls `use` with a path of the socket that the system takes. On Linux a path that is too long is shortened: through the
 * open directory, whose file descriptor has a short path of its own. Elsewhere the system refuses it.
 */
async function withSocketPath<T>(directory: string, use: (path: string) => Promise<T>): Promise<T> {
  const path = join(directory, socketName);
  if (process.platform !== "linux" || Buffer.byteLength(path) <= maxSocketPathBytes) return await use(path);
  const handle = await open(directory, "r");
  try {
    return await use(`/proc/self/fd/${handle.fd}/${socketName}`);
  } finally {
    await handle.close();
  }
}
