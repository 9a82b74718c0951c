// The control socket of the program: HTTP over a Unix socket that only its user can open.
import http from "node:http";
import type { Logger } from "../logger.ts";
import { createInstance, listenOnControlSocket, removeDeadInstances } from "./instances.ts";
import { type StopControl, StopRequested, type StopStep } from "./stop-control.ts";

/** The options of the control socket. */
export interface ControlSocketOptions {
  readonly stateDir: string;
  readonly stop: StopControl;
  /** Returns the body of `GET /status`. */
  status(): object;
  readonly log: Logger;
}

const steps: Readonly<Record<string, StopStep>> = { "/drain": "drain", "/kill": "kill" };

/**
 * Opens the control socket in a new instance directory, and removes the directories of dead instances. Serves `GET
 * /status`, `POST /drain` and `POST /kill`. Returns null after one warning if the socket cannot be opened. The worker
 * needs it for nothing else. Disposing closes it and removes the directory.
 */
export async function tryOpenControlSocket(options: ControlSocketOptions): Promise<AsyncDisposable | null> {
  const { stateDir, log } = options;
  try {
    await removeDeadInstances(stateDir);
    const instance = await createInstance(stateDir);
    const server = http.createServer((request, response) => respond(options, request, response));
    await listenOnControlSocket(server, instance.directory, log);
    // The socket must not keep the program alive. Flow runs in flight do.
    server.unref();
    return {
      async [Symbol.asyncDispose]() {
        server.close();
        server.closeAllConnections();
        await instance[Symbol.asyncDispose]();
      },
    };
  } catch (error) {
    const advice = "`lictor worker status` and `lictor worker drain` will not find this worker; set LICTOR_STATE_DIR";
    log.warn(`No control socket in ${stateDir} (${(error as NodeJS.ErrnoException).code ?? error}): ${advice}.`);
    return null;
  }
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
