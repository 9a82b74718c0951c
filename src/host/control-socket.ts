// The control socket of a program: HTTP over a Unix socket that only its user can open.
import http from "node:http";
import type { Logger } from "../logger.ts";
import { createInstance, listenOnControlSocket, removeDeadInstances } from "./instances.ts";
import { type StopControl, StopRequested, type StopStep } from "./stop-control.ts";

/** What the control socket serves. */
export interface ControlSocketOptions {
  readonly stateDir: string;
  readonly stop: StopControl;
  /** What `GET /status` answers. */
  status(): object;
  readonly log: Logger;
}

const steps: Readonly<Record<string, StopStep>> = { "/drain": "drain", "/kill": "kill" };

/**
 * Opens the control socket in an instance directory of its own, and removes what dead instances left behind. Serves
 * `GET /status`, `POST /drain` and `POST /kill`. Returns null, with one warning, where it cannot be opened: everything
 * else works without it.
 */
export async function tryOpenControlSocket(options: ControlSocketOptions): Promise<AsyncDisposable | null> {
  const { stateDir, log } = options;
  try {
    await removeDeadInstances(stateDir);
    const instance = await createInstance(stateDir);
    const server = http.createServer((request, response) => answer(options, request, response));
    await listenOnControlSocket(server, instance.directory);
    // Flow runs in flight keep the program alive, not this.
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

function answer(options: ControlSocketOptions, request: http.IncomingMessage, response: http.ServerResponse): void {
  const { method, url = "/" } = request;
  const step = Object.hasOwn(steps, url) ? steps[url] : undefined;
  if (step !== undefined && method === "POST") {
    options.log.warn(`Told over the control socket to ${step}.`);
    options.stop.ask(step, new StopRequested(`was told over its control socket to ${step}`, 1));
    send(response, 202, options.status());
  } else if (url === "/status" && method === "GET") {
    send(response, 200, options.status());
  } else if (step !== undefined || url === "/status") {
    send(response, 405, { detail: "Method Not Allowed" });
  } else {
    send(response, 404, { detail: "Not Found" });
  }
}

function send(response: http.ServerResponse, status: number, body: object): void {
  response.writeHead(status, { "Content-Type": "application/json" }).end(JSON.stringify(body));
}
