// Checks of the worker's WebSockets: whether they open, whether the server accepts the token, and whether they stay
// open.
import { LinkedController } from "../async/linked-controller.ts";
import { sleep } from "../async/sleep.ts";
import { connectSocket } from "../sockets/connect.ts";
import { inSeconds } from "../sockets/keep-alive.ts";
import type { Socket } from "../sockets/socket.ts";
import { SocketError } from "../sockets/socket-error.ts";
import type { ApiAccess, Check, Examination } from "./check.ts";
import { type Finding, fail, pass, warn } from "./finding.ts";

/**
 * The checks in the order of their output. A failing worker channel is a warning, because everything it carries is also
 * sent over HTTP.
 */
export const socketChecks: readonly Check[] = [
  {
    name: "/events/in",
    needs: "authentication",
    holds: true,
    run: async (examination) => [await checkSocket(examination, "/events/in", fail)],
  },
  {
    name: "/events/out",
    needs: "authentication",
    holds: true,
    run: async (examination) => [await checkSocket(examination, "/events/out", fail)],
  },
  {
    name: "worker channel",
    needs: "work pool",
    async run(examination) {
      const route = `/work_pools/${encodeURIComponent(examination.pool ?? "")}/workers/connect`;
      // The server ends a channel without a hello, so the check does not hold it open.
      return [{ ...(await checkSocket({ ...examination, holdMs: 0 }, route, warn)), name: "worker channel" }];
    },
  },
];

/**
 * Opens the socket and authenticates. Sends nothing else, because the next frames of a worker would change server data.
 */
async function checkSocket(
  { access, signal, holdMs }: Examination,
  route: string,
  failed: typeof fail,
): Promise<Finding> {
  const { api, connection, socketAddress } = await access;
  // Cloud authenticates this socket only by its header.
  const inBand = !(connection.isCloud && route === "/events/in");
  try {
    using socket = await connectSocket(socketAddress, route, { inBand, signal });
    await socket.ping(signal);
    const taken = inBand ? "subprotocol prefect, token taken" : "Authorization taken";
    const message = `upgraded (101), ${taken}, ping answered`;
    if (holdMs === 0) return pass(route, message);
    const end = await hold(socket, holdMs, signal);
    return end ? describeEnd(route, message, end) : pass(route, `${message}, open for ${inSeconds(holdMs)} s`);
  } catch (error) {
    signal.throwIfAborted();
    if (!(error instanceof SocketError)) throw error;
    const { status, cause } = error.details;
    if (status === undefined) return failed(route, error.message, causeOf(error));
    const plain = await compareWithPlain(api, route, status, signal);
    return failed(route, `the upgrade was answered with ${status}, ${plain}`, cause ?? null);
  }
}

/** Reads for `holdMs`. Returns how the socket ended before that, or undefined if it stayed open. */
async function hold(socket: Socket, holdMs: number, signal: AbortSignal): Promise<SocketError | undefined> {
  using over = new LinkedController(signal);
  const timer = sleep(holdMs, over.signal).then(() => over.abort());
  try {
    for await (const _ of socket.frames(over.signal));
    return over.signal.aborted ? undefined : new SocketError("closed by the server");
  } catch (error) {
    if (error instanceof SocketError) return error;
    throw error;
  } finally {
    over.abort();
    await timer;
  }
}

/** Returns a warning. It is no failure, because a worker opens the socket again and adapts its pings. */
function describeEnd(route: string, message: string, { message: reason, details }: SocketError): Finding {
  const { openMs, silentMs } = details;
  if (openMs === undefined || silentMs === undefined) {
    return warn(route, `${message}, but then: ${reason}`, "See the log of the server, and of a proxy on the way.");
  }
  const what = `${message}, but ended after ${inSeconds(openMs)} s, ${inSeconds(silentMs)} s after the last data`;
  return warn(
    route,
    what,
    `A proxy on the way probably ends connections after about ${inSeconds(silentMs)} s without data: raise its read timeout above 30 s (nginx: proxy_read_timeout). A worker pings more often there, but every 2 s at most.`,
  );
}

/** Tells whether a plain request for the route gets the same status. Then the server has not seen the upgrade. */
async function compareWithPlain(
  api: ApiAccess["api"],
  route: string,
  status: number,
  signal: AbortSignal,
): Promise<string> {
  const plain = await api.requestRaw("GET", route, { signal });
  return plain.status === status
    ? "just like a plain request"
    : `a plain request with the same credentials with ${plain.status}`;
}

/** Returns the likely cause of a failure after the upgrade, or without an HTTP response. */
function causeOf({ message, details: { code } }: SocketError): string {
  if (code === 1008) return "Inside a socket only the key or the auth string counts, not a header: set the right one.";
  if (message.includes("no subprotocol")) {
    return "The server is older than 3.6.14, or a proxy on the way drops `Sec-WebSocket-Protocol`.";
  }
  return "HTTP works on the same way, so something on it does not let WebSockets through.";
}
