// Listening on the control socket of an instance, and connecting to it.
import { once } from "node:events";
import { chmod, open } from "node:fs/promises";
import http from "node:http";
import net from "node:net";
import { join } from "node:path";
import type { Logger } from "../logger.ts";
import { logServerErrors } from "../status/http-listener.ts";

/** The time limit for a response on a control socket. */
const responseTimeoutMs = 5_000;
/**
 * The longest path of a Unix socket. The system allows 108 bytes on Linux and 104 elsewhere, including the final zero.
 */
const maxSocketPathBytes = process.platform === "linux" ? 107 : 103;

const socketName = "control.sock";

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

/**
 * Sends a request to the control socket of an instance. Throws an Error if there is no response within 5 s, and the
 * system's error. It is ECONNREFUSED, ENOENT or ECONNRESET if the process has ended.
 */
export async function requestControl(directory: string, method: string, path: string): Promise<ControlResponse> {
  return await withSocketPath(directory, (socketPath) => request(socketPath, method, path));
}

async function request(socketPath: string, method: string, path: string): Promise<ControlResponse> {
  return await new Promise((resolveResponse, reject) => {
    const sent = http.request({ socketPath, method, path, agent: false }, async (response) => {
      try {
        let body = "";
        for await (const chunk of response.setEncoding("utf8")) body += chunk;
        resolveResponse({ status: response.statusCode ?? 0, body });
      } catch (error) {
        reject(error);
      }
    });
    const tooLate = new Error(`no response within ${responseTimeoutMs / 1000} s`);
    const timer = setTimeout(() => sent.destroy(tooLate), responseTimeoutMs);
    sent.on("close", () => clearTimeout(timer));
    sent.on("error", reject);
    sent.end();
  });
}

/**
 * Returns whether a process listens on the control socket of an instance. A process that hangs listens too, because the
 * system accepts the connection. Throws any other error of the system, and the abort reason of `signal`.
 */
export async function isListening(directory: string, signal: AbortSignal): Promise<"yes" | "refused" | "no socket"> {
  try {
    await withSocketPath(directory, async (path) => {
      const socket = net.connect({ path });
      await once(socket, "connect", { signal }).finally(() => socket.destroy());
    });
    return "yes";
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    // The queue of connections that the process has not accepted is full.
    if (code === "EAGAIN") return "yes";
    if (code === "ECONNREFUSED") return "refused";
    if (code === "ENOENT") return "no socket";
    throw error;
  }
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
