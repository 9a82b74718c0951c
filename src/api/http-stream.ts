// Opens a response without an end, such as a watch or a followed log. Knows nothing about Prefect.
import { setMaxListeners } from "node:events";
import http from "node:http";
import https from "node:https";
import { UnreachableError } from "./errors.ts";
import { type HttpRequest, maxHeaderBytes } from "./http-message.ts";
import { proxyRefusal } from "./proxy-failure.ts";

/** A request without a body whose response may have no end. */
export type StreamRequest = Omit<HttpRequest, "lane" | "body" | "isOnce" | "maxBodyBytes" | "startedAt">;

/**
 * Sends a request and returns the response as soon as its head has arrived, at most `timeoutMs` later. The response fails
 * when `signal` aborts. Its connection belongs to nobody else and is closed at its end. Follows no redirect. Throws
 * UnreachableError and the abort reason of `signal`.
 */
export async function openHttpStream(request: StreamRequest): Promise<http.IncomingMessage> {
  const { url, method, headers, agents, timeoutMs, signal } = request;
  const { agent, proxy } = await agents.route(url, "stream");
  signal?.throwIfAborted();
  const options = { method, headers, agent, maxHeaderSize: maxHeaderBytes };
  let timer: NodeJS.Timeout | undefined;
  try {
    return await new Promise<http.IncomingMessage>((resolve, reject) => {
      const sent = (url.protocol === "https:" ? https : http).request(url, options);
      const giveUp = (code: string, message: string): void => {
        const error = Object.assign(new Error(message), { code });
        // A request that waits for its connection through a proxy emits no event when it is destroyed.
        reject(error);
        sent.destroy(error);
      };
      const onAbort = (): void => giveUp("ABORTED", "aborted");
      timer = setTimeout(() => giveUp("RESPONSE_TIMEOUT", `no answer within ${timeoutMs / 1000} s`), timeoutMs);
      sent.once("close", () => signal?.removeEventListener("abort", onAbort));
      sent.on("error", reject);
      sent.on("response", (response) => {
        // The reader sees the error. Without a listener, one that comes after the last read would end the program.
        response.on("error", () => {});
        if (proxy && response.statusCode === 407) giveUp("PROXY_407", proxyRefusal(proxy, 407).message);
        else resolve(response);
      });
      if (signal) setMaxListeners(0, signal);
      signal?.addEventListener("abort", onAbort);
      sent.end();
    });
  } catch (error) {
    signal?.throwIfAborted();
    const { code, name } = error as NodeJS.ErrnoException;
    throw new UnreachableError(url.origin, code ?? name, error);
  } finally {
    clearTimeout(timer);
  }
}
