// The instance directories of one user's lictor processes. Each process has one, which holds its control socket.
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { chmod, mkdir, open, readdir, rm, stat } from "node:fs/promises";
import http from "node:http";
import { join, resolve } from "node:path";
import { wallClockMs } from "../async/clock.ts";
import type { Logger } from "../logger.ts";
import { logServerErrors } from "../status/http-listener.ts";

/** The time limit for a response on a control socket. */
const responseTimeoutMs = 5_000;
/** An instance directory without a control socket belongs to a dead process once it is older than this. */
const startingMs = 60_000;
/**
 * The longest path of a Unix socket. The system allows 108 bytes on Linux and 104 elsewhere, including the final zero.
 */
const maxSocketPathBytes = process.platform === "linux" ? 107 : 103;

const socketName = "control.sock";

/**
 * Returns the absolute path of lictor's state directory: LICTOR_STATE_DIR, else `lictor` in PREFECT_HOME.
 */
export function stateDirectory(env: Readonly<Record<string, string | undefined>>, prefectHome: string): string {
  return resolve(env.LICTOR_STATE_DIR || join(prefectHome, "lictor"));
}

/** Creates an instance directory for this process and returns it. Disposing removes it. Throws the system's error. */
export async function createInstance(stateDir: string): Promise<AsyncDisposable & { directory: string }> {
  const directory = join(instancesOf(stateDir), `${process.pid}-${randomBytes(4).toString("hex")}`);
  await mkdir(directory, { recursive: true, mode: 0o700 });
  return {
    directory,
    [Symbol.asyncDispose]: () => rm(directory, { recursive: true, force: true }),
  };
}

/**
 * Lets `server` listen on the control socket of an instance. Only its user can connect. Later errors go to `log`. Throws
 * the system's error if it cannot listen.
 */
export async function listenOnControlSocket(server: http.Server, directory: string, log: Logger): Promise<void> {
  await withSocketPath(directory, async (path) => {
    server.listen(path);
    await once(server, "listening");
    logServerErrors(server, "the control socket", log);
    await chmod(path, 0o600);
  });
}

/** The response of a control socket. */
export interface ControlResponse {
  status: number;
  body: string;
}

/** Sends a request to the control socket of an instance. Throws the system's error: ECONNREFUSED for a dead process. */
export async function requestControl(directory: string, method: string, path: string): Promise<ControlResponse> {
  return await withSocketPath(directory, (socketPath) => request(socketPath, method, path));
}

async function request(socketPath: string, method: string, path: string): Promise<ControlResponse> {
  return await new Promise((resolveResponse, reject) => {
    const sent = http.request(
      { socketPath, method, path, timeout: responseTimeoutMs, agent: false },
      async (response) => {
        try {
          let body = "";
          for await (const chunk of response.setEncoding("utf8")) body += chunk;
          resolveResponse({ status: response.statusCode ?? 0, body });
        } catch (error) {
          reject(error);
        }
      },
    );
    sent.on("timeout", () => sent.destroy(new Error(`no answer within ${responseTimeoutMs / 1000} s`)));
    sent.on("error", reject);
    sent.end();
  });
}

/** Returns the directories of all instances, including those of dead processes. Throws the system's error. */
export async function listInstances(stateDir: string): Promise<string[]> {
  const root = instancesOf(stateDir);
  const names = await readdir(root).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return [];
    throw error;
  });
  return names.filter((name) => /^\d+-[0-9a-f]{8}$/.test(name)).map((name) => join(root, name));
}

/** Removes the directories of dead processes. Never throws, because nothing depends on it. */
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
 * Calls `use` with a path of the socket that is short enough for the system, and returns its result. On Linux, a long
 * path is replaced by one through the file descriptor of the directory. Other systems refuse a long path.
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
