// One connection of a lictor process to the API server of a cluster: a request, and a response that is whole or comes in lines.
import { setMaxListeners } from "node:events";
import type { IncomingHttpHeaders } from "node:http";
import { UnreachableError } from "../../src/api/errors.ts";
import type { HttpRequest } from "../../src/api/http-message.ts";
import type { ApiAnswer, WatchLine } from "./api-server.ts";
import type { ConnectionParts } from "./engine-connections.ts";
import { epochMs, type Owner } from "./virtual-clock.ts";

/** The head of a response, with a body that is whole or that comes in lines. */
export interface Received {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: string | AsyncIterable<Buffer>;
}

/** One request and its response. */
export class Connection {
  readonly response: Promise<Received>;
  onClose: () => void = () => undefined;
  isClosed = false;
  /** Lines that have arrived and are not read. */
  readonly #lines: WatchLine[] = [];
  #failure: unknown;
  #wake: () => void = () => undefined;
  #resolve: (response: Received) => void = () => undefined;
  #reject: (error: unknown) => void = () => undefined;
  readonly #cancelTimeout: () => void;
  readonly #onAbort: () => void;

  constructor(
    private readonly parts: ConnectionParts,
    private readonly owner: Owner,
    private readonly request: Pick<HttpRequest, "url" | "timeoutMs" | "signal">,
  ) {
    this.response = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    this.#cancelTimeout = parts.clock.after(request.timeoutMs, owner, () => this.fail("RESPONSE_TIMEOUT"));
    this.#onAbort = () => this.#end(request.signal?.reason);
    // Many requests share one signal, and Node.js warns of more than ten listeners.
    if (request.signal) setMaxListeners(0, request.signal);
    request.signal?.addEventListener("abort", this.#onAbort);
  }

  /** Receives a whole response. */
  respond({ status, body }: ApiAnswer): void {
    if (this.isClosed) return;
    this.close();
    const date = new Date(epochMs + this.parts.clock.now).toUTCString();
    const headers = { date, ...(status === 429 && { "retry-after": "1" }) };
    this.#resolve({ status, headers, body: typeof body === "string" ? body : JSON.stringify(body) });
  }

  /** Receives the head of a response that comes in lines. */
  beginStream(): void {
    if (this.isClosed) return;
    this.#cancelTimeout();
    this.#resolve({ status: 200, headers: {}, body: this.#stream() });
  }

  /** Receives a line. */
  push(line: WatchLine): void {
    this.#lines.push(line);
    this.#wake();
  }

  /** The response ends properly. */
  endStream(): void {
    this.close();
    this.#wake();
  }

  /** The connection breaks, with this code of the system. */
  fail(code: string): void {
    const error = Object.assign(new Error(code), { code });
    this.#end(new UnreachableError(this.request.url.origin, code, error), error);
  }

  /** The same, as soon as the sender learns of it. */
  breakSoon(code: string): void {
    this.parts.clock.after(1 + this.parts.random() * 20, this.owner, () => this.fail(code));
  }

  close(): void {
    if (this.isClosed) return;
    this.isClosed = true;
    this.#cancelTimeout();
    this.request.signal?.removeEventListener("abort", this.#onAbort);
    this.onClose();
  }

  /** `ofStream` is the error of a body that is being read. */
  #end(error: unknown, ofStream: unknown = error): void {
    if (this.isClosed) return;
    this.close();
    this.#failure = ofStream ?? new Error("aborted");
    this.#reject(error);
    this.#wake();
  }

  async *#stream(): AsyncGenerator<Buffer> {
    try {
      for (;;) {
        if (this.#failure) throw this.#failure;
        const line = this.#lines.shift();
        if (line) yield Buffer.from(`${JSON.stringify(line)}\n`);
        else if (this.isClosed) return;
        else
          await new Promise<void>((resolve) => {
            this.#wake = resolve;
          });
      }
    } finally {
      this.close();
    }
  }
}
