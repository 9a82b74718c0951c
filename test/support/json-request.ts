// One JSON request to a Prefect API, as a test's own client makes it.
import { setTimeout as delay } from "node:timers/promises";
import { sendRequest } from "./send-request.ts";

/** Sends one request below an API URL and gives the parsed body, undefined for an empty one. */
export type JsonRequest = <T>(method: string, path: string, body?: unknown) => Promise<T>;

// SQLite answers 503 while another writer holds it, normally for some 100 ms, under a burst for many seconds.
const RETRIES = 120;
const RETRY_MS = 250;

/** A client for `apiUrl`. It retries 503 and throws on any other answer but 2xx, with the answer's text. */
export function jsonRequest(apiUrl: string, headers: Readonly<Record<string, string>> = {}): JsonRequest {
  return async <T>(method: string, path: string, body?: unknown) => {
    const message = {
      method,
      headers: { "content-type": "application/json", ...headers },
      body: body === undefined ? "" : JSON.stringify(body),
    };
    for (let retry = 0; ; retry++) {
      const answer = await sendRequest(`${apiUrl}${path}`, message);
      const text = answer.body.toString();
      if (answer.status >= 200 && answer.status < 300) return (text === "" ? undefined : JSON.parse(text)) as T;
      if (answer.status !== 503 || retry === RETRIES) throw new Error(`${method} ${path}: ${answer.status} ${text}`);
      await delay(RETRY_MS);
    }
  };
}
