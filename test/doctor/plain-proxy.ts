// A reverse proxy that knows no WebSockets: it forwards an upgrade as the plain request that is left of it.
import { createServer } from "node:http";
import { text } from "node:stream/consumers";
import { listenOnLoopback } from "../support/listen-on-loopback.ts";
import { sendRequest } from "../support/send-request.ts";

/** Its API URL has the path of the target's. */
export interface PlainProxy extends AsyncDisposable {
  apiUrl: string;
}

/** `dropped` is another header, in lower case, that it keeps to itself on upgrades. */
export async function startPlainProxy(target: string, dropped?: string): Promise<PlainProxy> {
  const { origin, pathname } = new URL(target);
  // Without a listener for upgrades Node takes them for plain requests.
  const server = createServer(async (request, response) => {
    const { upgrade, connection: _, "transfer-encoding": __, ...headers } = request.headers;
    if (upgrade && dropped) delete headers[dropped];
    const message = { method: request.method ?? "", headers, body: await text(request) };
    const answer = await sendRequest(`${origin}${request.url}`, message);
    const { "transfer-encoding": ___, connection: ____, ...kept } = answer.headers;
    response.writeHead(answer.status, kept).end(answer.body);
  });
  const listener = await listenOnLoopback(server);
  return { apiUrl: `${listener.origin}${pathname}`, [Symbol.asyncDispose]: listener.stop };
}
