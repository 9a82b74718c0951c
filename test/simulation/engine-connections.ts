// The connections of lictor processes to a container engine, and what happens to them.
import type { JsonObject } from "../../src/api/wire.ts";
import type {
  EngineRequest,
  EngineResponse,
  SendToEngine,
} from "../../src/infrastructure/docker/engine/send-request.ts";
import type { Random } from "../support/random.ts";
import type { EngineCall } from "./container.ts";
import type { ContainerEngine } from "./container-engine.ts";
import type { Faults } from "./faults.ts";
import type { RunProcess } from "./run-process.ts";
import type { Owner, VirtualClock } from "./virtual-clock.ts";

/** What connections need of the world. */
export interface ConnectionParts {
  readonly clock: VirtualClock;
  readonly faults: Faults;
  readonly random: Random;
  readonly world: Owner;
  readonly trace: (line: () => string) => void;
  /** Called at each step of a lictor process. It may kill the process. */
  readonly onStep: (owner: Owner) => void;
}

/** How often a frozen engine is looked at. */
const frozenMs = 500;

/** The way to one engine. */
export class EngineConnections {
  /** Ends a connection that is open. */
  readonly #open = new Set<(code: string) => void>();
  /** How many requests have not arrived. */
  #underway = 0;
  /** How often the engine has ended. What was underway then never arrives. */
  #ends = 0;

  constructor(
    readonly engine: ContainerEngine,
    private readonly parts: ConnectionParts,
  ) {}

  /** Breaks all connections, as the end of the engine does. */
  breakAll(): void {
    this.#ends++;
    this.engine.forget();
    for (const end of [...this.#open]) end("ECONNRESET");
  }

  /** Whether a request may still take effect, although its sender may be dead. */
  get isBusy(): boolean {
    return this.#underway > 0;
  }

  /** Returns how one lictor process sends requests. */
  of(owner: Owner): SendToEngine {
    return (_address, request, signals) => this.#send(owner, request, signals);
  }

  async #send(owner: Owner, request: EngineRequest, signals: readonly AbortSignal[]): Promise<EngineResponse> {
    const { clock, faults, random, world, trace, onStep } = this.parts;
    const { engine } = this;
    onStep(owner);
    if (!owner.alive) return await new Promise(() => undefined);
    const call = toCall(request);
    const label = `${owner.name} to ${engine.name}: ${call.method} ${call.path}`;
    trace(() => label);
    const connection = this.#connect(owner, signals);
    if (engine.isDown) {
      clock.after(this.#latencyMs(), owner, () => connection.end(systemError("ECONNREFUSED")));
      return await connection.response;
    }
    const upMs = faults.happens("engine slow") ? random() * 20_000 : this.#latencyMs();
    if (faults.happens("engine request lost")) {
      clock.after(upMs, owner, () => connection.end(systemError("ECONNRESET")));
      return await connection.response;
    }
    const ends = this.#ends;
    this.#underway++;
    const arrive = (): void => {
      // What has arrived is executed, even if the sender is dead or does not wait any more.
      const isLost = engine.isDown || this.#ends > ends;
      if (engine.isFrozen && !isLost) {
        clock.after(frozenMs, world, arrive);
        return;
      }
      this.#underway--;
      if (isLost) return;
      if (call.path === "/events" && !call.query.has("until")) {
        clock.after(this.#latencyMs(), owner, () => connection.stream(this.#events(owner, connection)));
        return;
      }
      const process = engine.followed(call);
      if (process) {
        clock.after(this.#latencyMs(), owner, () => connection.stream(this.#silence(owner, process, connection)));
        return;
      }
      void Promise.resolve(engine.handle(call)).then(({ status, body }) => {
        trace(() => `${label} -> ${status}`);
        onStep(owner);
        if (faults.happens("engine response lost"))
          clock.after(1, owner, () => connection.end(systemError("ECONNRESET")));
        else clock.after(this.#latencyMs(), owner, () => connection.respond(status, body));
      });
    };
    clock.after(upMs, world, arrive);
    return await connection.response;
  }

  #latencyMs(): number {
    return 1 + this.parts.random() * 20;
  }

  /** Opens a connection that also ends when one of the signals aborts. */
  #connect(owner: Owner, signals: readonly AbortSignal[]): Connection {
    const connection = new Connection();
    const abort = (): void => connection.end(new Error("aborted"));
    const breakOff = (code: string): void => {
      this.parts.clock.after(1, owner, () => connection.end(systemError(code)));
    };
    this.#open.add(breakOff);
    connection.onClose = () => {
      this.#open.delete(breakOff);
      for (const signal of signals) signal.removeEventListener("abort", abort);
    };
    for (const signal of signals) signal.addEventListener("abort", abort);
    if (signals.some(({ aborted }) => aborted)) abort();
    return connection;
  }

  /** The output of a program that prints nothing: a stream that ends with the program. */
  async *#silence(owner: Owner, process: RunProcess, connection: Connection): AsyncGenerator<Buffer> {
    try {
      await new Promise<void>((resolve) => {
        connection.onBreak = resolve;
        process.onEnd(owner, resolve);
        if (connection.failure) resolve();
      });
      if (connection.failure) throw connection.failure;
    } finally {
      connection.close();
    }
  }

  /** The events of the engine as they arrive, until the connection ends. */
  async *#events(owner: Owner, connection: Connection): AsyncGenerator<Buffer> {
    const { clock, faults, world } = this.parts;
    const received: object[] = [];
    let wake = (): void => {};
    const unfollow = this.engine.follow((event) => {
      if (faults.happens("engine event lost")) return;
      clock.after(this.#latencyMs(), world, () => {
        received.push(event);
        clock.after(0, owner, () => wake());
      });
    });
    connection.onBreak = () => wake();
    try {
      for (;;) {
        if (connection.failure) throw connection.failure;
        const event = received.shift();
        if (event) yield Buffer.from(`${JSON.stringify(event)}\n`);
        else
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
      }
    } finally {
      unfollow();
      connection.close();
    }
  }
}

/** One request and its response. */
class Connection {
  readonly response: Promise<EngineResponse>;
  /** Why it has ended, if that was not the end of the response. */
  failure: Error | null = null;
  onClose: () => void = () => {};
  /** Called when the connection breaks in the middle of a stream. */
  onBreak: () => void = () => {};
  #resolve: (response: EngineResponse) => void = () => {};
  #reject: (error: Error) => void = () => {};
  #isClosed = false;

  constructor() {
    this.response = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
  }

  /** Receives a whole response. */
  respond(statusCode: number, body: unknown): void {
    if (this.#isClosed) return;
    this.close();
    this.#resolve(withBody(statusCode, oneChunk(body)));
  }

  /** Receives the begin of a stream. */
  stream(body: AsyncIterable<Buffer>): void {
    if (!this.#isClosed) this.#resolve(withBody(200, body));
  }

  /** The connection breaks. */
  end(error: Error): void {
    if (this.#isClosed) return;
    this.failure = error;
    this.close();
    this.#reject(error);
    this.onBreak();
  }

  close(): void {
    this.#isClosed = true;
    this.onClose();
  }
}

function withBody(statusCode: number, body: AsyncIterable<Buffer>): EngineResponse {
  return { statusCode, [Symbol.asyncIterator]: () => body[Symbol.asyncIterator]() };
}

async function* oneChunk(body: unknown): AsyncGenerator<Buffer> {
  yield Buffer.from(typeof body === "string" ? body : JSON.stringify(body ?? "").replace(/^""$/, ""));
}

function systemError(code: string): Error {
  return Object.assign(new Error(code), { code });
}

/** Returns the request without its version. */
function toCall({ method, path, body }: EngineRequest): EngineCall {
  const [where = "", query = ""] = path.replace(/^\/v[\d.]+/, "").split("?");
  const parsed = body === undefined ? {} : (JSON.parse(body) as JsonObject);
  return { method, path: where, query: new URLSearchParams(query), body: parsed };
}
