// GET /health for supervisors of the worker. Source: prefect workers/server.py.
import { once } from "node:events";
import http from "node:http";
import type { AddressInfo } from "node:net";
import type { Logger } from "../logger.ts";

/** So many poll intervals without a poll, and the worker counts as stuck. */
const missedPolls = 30;

/**
 * Serves `/health`: 200 while the last poll is recent enough, 503 after. Disposing closes it. Throws when the address
 * cannot be listened on.
 */
export async function startHealthServer(options: {
  host: string;
  port: number;
  querySeconds: number;
  lastPollAt: () => number;
  log: Logger;
}): Promise<Disposable & { port: number }> {
  const limitSeconds = missedPolls * options.querySeconds;
  const server = http.createServer((request, response) => {
    const answer = (status: number, body: object): void => {
      response.writeHead(status, { "Content-Type": "application/json" }).end(JSON.stringify(body));
    };
    if (request.url?.split("?")[0] !== "/health") return answer(404, { detail: "Not Found" });
    if (request.method !== "GET" && request.method !== "HEAD") return answer(405, { detail: "Method Not Allowed" });
    const secondsAgo = (Date.now() - options.lastPollAt()) / 1000;
    if (secondsAgo <= limitSeconds) return answer(200, { message: "OK" });
    options.log.error(`Worker has not polled in the last ${Math.round(secondsAgo)} seconds and should be restarted`);
    return answer(503, { message: "Worker may be unresponsive at this time" });
  });
  server.listen(options.port, options.host);
  await once(server, "listening");
  return {
    port: (server.address() as AddressInfo).port,
    [Symbol.dispose]() {
      server.close();
      server.closeAllConnections();
    },
  };
}
