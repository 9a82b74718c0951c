// One HTTP request on a connection of its own: a server closes idle ones just when a test would use them again.
import { once } from "node:events";
import { type IncomingHttpHeaders, type IncomingMessage, type OutgoingHttpHeaders, request } from "node:http";
import { buffer } from "node:stream/consumers";

/** A whole answer; the body is as it came, compressed or not. */
export interface ReceivedAnswer {
  status: number;
  headers: IncomingHttpHeaders;
  body: Buffer;
}

// Far beyond what a healthy server needs while Python engines keep the machine busy.
const TIMEOUT_MS = 60_000;

/** Sends the request and reads the answer to its end. Throws if there is none or it breaks off. */
export async function sendRequest(
  url: string,
  message: { method: string; headers: OutgoingHttpHeaders; body: string },
): Promise<ReceivedAnswer> {
  const { method, headers, body } = message;
  const outgoing = request(url, { method, headers, agent: false, signal: AbortSignal.timeout(TIMEOUT_MS) });
  outgoing.end(body === "" ? undefined : body);
  const [incoming] = (await once(outgoing, "response")) as [IncomingMessage];
  return { status: incoming.statusCode ?? 0, headers: incoming.headers, body: await buffer(incoming) };
}
