// The WebSockets of a worker: whether they open, whether the token inside is accepted, and whether they stay open.
import { sleep } from "../async/sleep.ts";
import { connectSocket } from "../sockets/connect.ts";
import { inSeconds } from "../sockets/keep-alive.ts";
import type { Socket } from "../sockets/socket.ts";
import { SocketError } from "../sockets/socket-error.ts";
import type { ApiAccess, Check, Examination } from "./check.ts";
import { type Finding, fail, pass, warn } from "./finding.ts";

/** In their order. Nothing depends on the worker channel: everything it carries is also sent over HTTP. */
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
      // The server ends a channel without a hello, so it is not held.
      return [{ ...(await checkSocket({ ...examination, holdMs: 0 }, route, warn)), name: "worker channel" }];
    },
  },
];

/** Goes as far as the authentication, because what a worker sends next would leave traces on the server. */
async function checkSocket(
  { access, signal, holdMs }: Examination,
  route: string,
  failed: typeof fail,
): Promise<Finding> {
  const { api, connection, socketAddress } = await access;
  // Cloud authenticates this one by its header alone.
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

/** Reads for so long. Returns how the socket ended before; undefined if it did not. */
async function hold(socket: Socket, holdMs: number, signal: AbortSignal): Promise<SocketError | undefined> {
  const over = new AbortController();
  const timer = sleep(holdMs, AbortSignal.any([signal, over.signal])).then(() => over.abort());
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

/** A worker opens the socket again, and adapts its pings, so an end is a warning. */
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

/** Says whether a plain request for the route gets the same status, so that the upgrade was not seen at all. */
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

/** The likely cause of a failure after the upgrade, or without any HTTP response. */
function causeOf({ message, details: { code } }: SocketError): string {
  if (code === 1008) return "Inside a socket only the key or the auth string counts, not a header: set the right one.";
  if (message.includes("no subprotocol")) {
    return "The server is older than 3.6.14, or a proxy on the way drops `Sec-WebSocket-Protocol`.";
  }
  return "HTTP works on the same way, so something on it does not let WebSockets through.";
}
