// The client of a container engine: Docker's HTTP API over a Unix socket, a named pipe or TCP.
// Source: Docker Engine API, /version, and its versioned paths.
import { jsonLines } from "../../../api/json-lines.ts";
import type { JsonObject } from "../../../api/wire.ts";
import { timeoutSignal } from "../../../async/clock.ts";
import { LinkedController } from "../../../async/linked-controller.ts";
import { waitUnlessAborted } from "../../../async/sleep.ts";
import { systemCode } from "../../../process/system-errors.ts";
import type { EngineAddress } from "./engine-address.ts";
import { EngineError, EngineUnreachableError, isAway, noEngine } from "./engine-error.ts";
import { type EngineResponse, type SendToEngine, sendOverHttp } from "./send-request.ts";

/** Query parameters. Undefined ones are left out, and objects are sent as JSON. */
export type Query = Readonly<Record<string, string | number | boolean | object | undefined>>;

/** One call. */
export interface Call {
  readonly query?: Query;
  readonly body?: JsonObject;
  readonly headers?: Readonly<Record<string, string>>;
  /** Ends the call. It then throws the signal's reason. */
  readonly signal?: AbortSignal | undefined;
  /** The time limit in ms, until the whole response, or until the begin of a stream. The default is DOCKER_CLIENT_TIMEOUT. */
  readonly limitMs?: number;
}

/** The answer to `GET /version`, as far as it is used. */
export interface EngineVersion {
  /** The version of the engine, such as `20.10.24`. */
  readonly Version: string;
  readonly ApiVersion: string;
  /** Podman is one of its own components. */
  readonly Components?: readonly { readonly Name: string }[];
}

/** The engine that the client talks to. */
export class Engine {
  #version: Promise<EngineVersion> | undefined;
  #id: Promise<string | null> | undefined;

  constructor(
    readonly address: EngineAddress,
    private readonly usualLimitMs: number,
    private readonly send: SendToEngine = sendOverHttp,
  ) {}

  /** Returns the version of the engine. Asked once, and again after the engine was away. Throws as `request` does. */
  async version(signal?: AbortSignal): Promise<EngineVersion> {
    // The calls share the request, so no call's signal may end it.
    this.#version ??= this.#readVersion().catch((error: unknown) => {
      this.#version = undefined;
      throw error;
    });
    const version = this.#version;
    if (signal) await waitUnlessAborted(version, signal);
    signal?.throwIfAborted();
    return await version;
  }

  /** An engine that cannot say its version is none that can be used. */
  async #readVersion(): Promise<EngineVersion> {
    const { host } = this.address;
    const answer = await this.#read<Partial<EngineVersion> | undefined>("GET", "/version", {}).catch(
      (error: unknown) => {
        if (!(error instanceof EngineError) || isAway(error)) throw error;
        const [said = ""] = error.text.split("\n");
        const code = /[<{]/.test(said) ? noEngine : `${error.status}: ${said.replace(/\.$/, "")}`;
        throw new EngineUnreachableError(host, code, { cause: error });
      },
    );
    if (typeof answer?.ApiVersion === "string" && typeof answer.Version === "string") return answer as EngineVersion;
    throw new EngineUnreachableError(host, noEngine);
  }

  /**
   * Returns the id that an engine keeps as long as its containers. Null if it has none, as Podman, or if a proxy in front of
   * it refuses the question. Asked as seldom as the version. Throws EngineUnreachableError and the reason of the signal.
   */
  async id(signal: AbortSignal): Promise<string | null> {
    this.#id ??= this.#readId().catch((error: unknown) => {
      this.#id = undefined;
      throw error;
    });
    const id = this.#id;
    await waitUnlessAborted(id, signal);
    signal.throwIfAborted();
    return await id;
  }

  async #readId(): Promise<string | null> {
    if (isPodman(await this.version())) return null;
    try {
      return (await this.request<{ ID?: string }>("GET", "/info")).ID || null;
    } catch (error) {
      if (isAway(error)) throw error;
      return null;
    }
  }

  /**
   * Sends a request and returns the JSON of the response, or undefined if it has no body. Throws EngineError,
   * EngineUnreachableError, and the reason of the call's signal.
   */
  async request<T = unknown>(method: string, path: string, call: Call = {}): Promise<T> {
    return await this.#read<T>(method, await this.#versioned(path, call), call);
  }

  /**
   * Sends a request and returns the response as soon as it begins, for a stream without an end. The stream fails when
   * the call's signal aborts. Throws as `request` does.
   */
  async open(method: string, path: string, call: Call = {}): Promise<EngineResponse> {
    const response = await this.#send(method, await this.#versioned(path, call), call);
    if (isSuccess(response)) return response;
    throw toError(response, await readAll(response), `${method} ${path}`);
  }

  /**
   * Sends a request and yields the JSON objects of the response, which has one per line. Throws as `request` does, also if
   * the connection is lost in the middle.
   */
  async *lines(method: string, path: string, call: Call): AsyncGenerator<JsonObject> {
    const response = await this.open(method, path, call);
    try {
      yield* jsonLines(response);
    } catch (error) {
      const isLost = systemCode(error) !== undefined || call.signal?.aborted;
      throw isLost ? this.#explain(error, call) : error;
    }
  }

  async #versioned(path: string, { signal }: Call): Promise<string> {
    return `/v${(await this.version(signal)).ApiVersion}${path}`;
  }

  async #read<T>(method: string, path: string, call: Call): Promise<T> {
    using limit = new LinkedController(timeoutSignal(call.limitMs ?? this.usualLimitMs));
    if (call.signal?.aborted) throw call.signal.reason;
    const response = await this.#send(method, path, call, limit.signal);
    let text: string;
    try {
      text = await readAll(response);
    } catch (error) {
      throw this.#explain(error, call, limit.signal);
    }
    if (!isSuccess(response)) throw toError(response, text, `${method} ${path.replace(/^\/v[\d.]+/, "")}`);
    return (text.trim() === "" ? undefined : parse(text)) as T;
  }

  /** Resolves with the head of the response. */
  async #send(method: string, path: string, call: Call, limit?: AbortSignal): Promise<EngineResponse> {
    using end = new LinkedController(limit ?? timeoutSignal(call.limitMs ?? this.usualLimitMs));
    const { signal } = call;
    if (signal?.aborted) throw signal.reason;
    const body = call.body && JSON.stringify(call.body);
    const request = { method, path: `${path}${toQuery(call.query ?? {})}`, headers: call.headers ?? {}, body };
    const signals = [end.signal, limit, signal].filter((each) => each !== undefined);
    try {
      return await this.send(this.address, request, signals);
    } catch (error) {
      throw this.#explain(error, call, end.signal);
    }
  }

  #explain(error: unknown, { signal }: Call, limit?: AbortSignal): unknown {
    if (signal?.aborted) return signal.reason;
    // Another engine may answer the next request, for example a newer one.
    this.#version = undefined;
    this.#id = undefined;
    const code = limit?.aborted ? "no answer in time" : (systemCode(error) ?? (error as Error).message);
    return new EngineUnreachableError(this.address.host, code, { cause: error });
  }
}

/** Returns whether the engine is Podman, which names itself as one of its components. */
export function isPodman({ Components }: EngineVersion): boolean {
  return Components?.some(({ Name }) => /podman/i.test(Name)) ?? false;
}

function isSuccess({ statusCode = 0 }: EngineResponse): boolean {
  // 304: the container is already started or stopped.
  return (statusCode >= 200 && statusCode < 300) || statusCode === 304;
}

async function readAll(response: EngineResponse): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk);
  return Buffer.concat(chunks).toString("utf8");
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // `_ping` answers with plain text.
    return text;
  }
}

function toError({ statusCode = 0 }: EngineResponse, text: string, call: string): EngineError {
  const body = parse(text);
  const message = typeof body === "object" && body !== null ? (body as { message?: unknown }).message : undefined;
  return new EngineError(statusCode, String(message ?? text).trim() || "no reason given", call);
}

function toQuery(query: Query): string {
  const pairs = Object.entries(query).flatMap(([name, value]) => {
    if (value === undefined) return [];
    const text = typeof value === "object" ? JSON.stringify(value) : String(value);
    return [`${encodeURIComponent(name)}=${encodeURIComponent(text)}`];
  });
  return pairs.length > 0 ? `?${pairs.join("&")}` : "";
}
