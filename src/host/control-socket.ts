// The control socket of the program: HTTP over a Unix socket that only its user can open.
import http from "node:http";
import { sleep } from "../async/sleep.ts";
import type { Logger } from "../logger.ts";
import { listenOnControlSocket } from "./control-connection.ts";
import { createInstance, removeDeadInstances } from "./instances.ts";
import { type StopControl, StopRequested, type StopStep } from "./stop-control.ts";

/** The options of the control socket. */
export interface ControlSocketOptions {
  /** Null if there is none, because the user has no home directory. */
  readonly stateDir: string | null;
  readonly stop: StopControl;
  /** Returns the body of `GET /status`. */
  status(): object;
  readonly log: Logger;
}

const steps: Readonly<Record<string, StopStep>> = { "/drain": "drain", "/kill": "kill" };

/** The start of a worker waits this long for the file system of the state directory. */
const openingMs = 2_000;
/** When the directories of dead instances are removed. */
const removalAfterMs = 1_000;

const advice =
  "`lictor worker status` and `lictor worker drain` will not find this worker. If it is killed, the next worker cannot " +
  "continue its flow runs. Set LICTOR_STATE_DIR";

/** The instance directory of this program, with its control socket. */
export interface OpenInstance extends AsyncDisposable {
  readonly directory: string;
}

/**
 * Creates the instance directory and opens the control socket in it. Removes the directories of dead instances in the
 * background. Serves `GET /status`, `POST /drain` and `POST /kill`. Returns null after one warning if the socket cannot be
 * opened within 2 s. Then there is no journal either, because the socket proves to others that this program is alive.
 * Disposing closes the socket, and removes the directory unless its journal has records.
 */
export async function tryOpenInstance(options: ControlSocketOptions): Promise<OpenInstance | null> {
  const { stateDir, log } = options;
  if (stateDir === null) {
    log.warn(`No control socket, because this user has no home directory: ${advice}.`);
    return null;
  }
  const over = new AbortController();
  try {
    const opening = openInstance(stateDir, options);
    const opened = await Promise.race([opening, sleep(openingMs, over.signal)]);
    if (opened) return opened;
    opening.then((late) => late[Symbol.asyncDispose]()).catch(() => undefined);
    throw new Error(`not open within ${openingMs / 1000} s`);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    log.warn(`No control socket in ${stateDir} (${code ?? message}): ${advice}.`);
    return null;
  } finally {
    over.abort();
  }
}

async function openInstance(stateDir: string, options: ControlSocketOptions): Promise<OpenInstance> {
  const instance = await createInstance(stateDir);
  const server = http.createServer((request, response) => respond(options, request, response));
  try {
    await listenOnControlSocket(server, instance.directory, options.log);
  } catch (error) {
    await instance[Symbol.asyncDispose]();
    throw error;
  }
  // The socket must not keep the program alive. Flow runs in flight do.
  server.unref();
  const over = new AbortController();
  // The first poll comes first.
  const removal = sleep(removalAfterMs, over.signal).then(() => removeDeadInstances(stateDir, over.signal));
  return {
    directory: instance.directory,
    async [Symbol.asyncDispose]() {
      over.abort();
      server.close();
      server.closeAllConnections();
      await removal;
      await instance[Symbol.asyncDispose]();
    },
  };
}

function respond(options: ControlSocketOptions, request: http.IncomingMessage, response: http.ServerResponse): void {
  const { method, url = "/" } = request;
  const step = Object.hasOwn(steps, url) ? steps[url] : undefined;
  if (step !== undefined && method === "POST") {
    options.log.warn(`Told over the control socket to ${step}.`);
    options.stop.request(step, new StopRequested(`was told over its control socket to ${step}`, 1));
    sendJson(response, 202, options.status());
  } else if (url === "/status" && method === "GET") {
    sendJson(response, 200, options.status());
  } else if (step !== undefined || url === "/status") {
    sendJson(response, 405, { detail: "Method Not Allowed" });
  } else {
    sendJson(response, 404, { detail: "Not Found" });
  }
}

function sendJson(response: http.ServerResponse, status: number, body: object): void {
  response.writeHead(status, { "Content-Type": "application/json" }).end(JSON.stringify(body));
}
