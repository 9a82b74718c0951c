// The WebSockets of a worker: what the upgrade is answered with, and whether the token inside is taken.
import { connectSocket } from "../sockets/connect.ts";
import { SocketError } from "../sockets/socket-error.ts";
import type { ApiAccess, Check, Examination } from "./check.ts";
import { type Finding, fail, pass, warn } from "./finding.ts";

/** In their order. Of the worker channel nothing depends on: what it carries goes over HTTP too. */
export const socketChecks: readonly Check[] = [
  {
    name: "/events/in",
    needs: "authentication",
    run: async (examination) => [await checkSocket(examination, "/events/in", fail)],
  },
  {
    name: "/events/out",
    needs: "authentication",
    run: async (examination) => [await checkSocket(examination, "/events/out", fail)],
  },
  {
    name: "worker channel",
    needs: "work pool",
    async run(examination) {
      const route = `/work_pools/${encodeURIComponent(examination.pool ?? "")}/workers/connect`;
      return [{ ...(await checkSocket(examination, route, warn)), name: "worker channel" }];
    },
  },
];

/** Goes as far as the authentication: what a worker sends next would leave its traces. */
async function checkSocket({ access, signal }: Examination, route: string, failed: typeof fail): Promise<Finding> {
  const { api, connection, socketAddress } = await access;
  // Cloud authenticates this one by its header alone.
  const inBand = !(connection.isCloud && route === "/events/in");
  try {
    using socket = await connectSocket(socketAddress, route, { inBand, signal });
    await socket.confirmed(signal);
    const taken = inBand ? "subprotocol prefect, token taken" : "Authorization taken";
    return pass(route, `upgraded (101), ${taken}, ping answered`);
  } catch (error) {
    signal.throwIfAborted();
    if (!(error instanceof SocketError)) throw error;
    const { status, cause } = error.details;
    if (status === undefined) return failed(route, error.message, causeOf(error));
    const plain = await compareWithPlain(api, route, status, signal);
    return failed(route, `the upgrade was answered with ${status}, ${plain}`, cause ?? null);
  }
}

/** Whether the answer is one to the upgrade at all, or the same that any request for this route gets. */
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

/** The cause when the upgrade went well, or when there was no HTTP answer at all. */
function causeOf({ message, details: { code } }: SocketError): string {
  if (code === 1008) return "Inside a socket only the key or the auth string counts, not a header: set the right one.";
  if (message.includes("no subprotocol")) {
    return "The server is older than 3.6.14, or a proxy on the way drops `Sec-WebSocket-Protocol`.";
  }
  return "HTTP works on the same way, so something on it does not let WebSockets through.";
}
