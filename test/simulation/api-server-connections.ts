// The connections of lictor processes to the API server of a cluster, and what happens to them.
import type { HttpRequest } from "../../src/api/http-message.ts";
import type { StreamRequest } from "../../src/api/http-stream.ts";
import type { JsonObject } from "../../src/api/wire.ts";
import type { Transport } from "../../src/infrastructure/kubernetes/cluster/transport.ts";
import { Connection, type Received } from "./api-connection.ts";
import { type ApiAnswer, type ApiCall, type ApiServer, refusal, type WatchLine } from "./api-server.ts";
import type { ConnectionParts } from "./engine-connections.ts";
import type { RunProcess } from "./run-process.ts";
import type { Owner } from "./virtual-clock.ts";

/** The API server sends a bookmark at this interval. */
const bookmarkMs = 60_000;

/** The way to one API server. */
export class ApiServerConnections {
  /** How many requests each owner has sent. */
  readonly requestCounts = new Map<Owner, number>();
  /** Called for each request before it is sent. */
  onRequest: (owner: Owner, call: ApiCall) => void = () => undefined;
  /** Returns the program in a pod if it runs. */
  programIn: (pod: string) => RunProcess | null = () => null;
  readonly #open = new Set<Connection>();

  constructor(
    readonly api: ApiServer,
    private readonly parts: ConnectionParts,
  ) {}

  /** Breaks all connections, as the end of the API server does. */
  breakAll(): void {
    for (const connection of [...this.#open]) connection.breakSoon("ECONNRESET");
  }

  /** Returns how one lictor process sends requests. */
  transportOf(owner: Owner): Transport {
    return {
      send: async (request) => {
        const { status, headers, body } = await this.#send(owner, request);
        return { status, headers, body: body as string, url: request.url, sent: request.headers };
      },
      open: async (request) => {
        const { status: statusCode, headers, body } = await this.#send(owner, request);
        const chunks = typeof body === "string" ? oneChunk(body) : body;
        return { statusCode, headers, [Symbol.asyncIterator]: () => chunks[Symbol.asyncIterator]() };
      },
      random: this.parts.random,
    };
  }

  async #send(owner: Owner, request: StreamRequest & Pick<HttpRequest, "body">): Promise<Received> {
    const { clock, faults, random, world, trace, onStep } = this.parts;
    onStep(owner);
    if (!owner.alive) return await new Promise(() => undefined);
    request.signal?.throwIfAborted();
    const call = toCall(request);
    this.requestCounts.set(owner, (this.requestCounts.get(owner) ?? 0) + 1);
    this.onRequest(owner, call);
    const label = `${owner.name} to the cluster: ${call.method} ${call.path}${call.query.has("watch") ? " (watch)" : ""}`;
    trace(() => label);
    const connection = new Connection(this.parts, owner, request);
    this.#open.add(connection);
    connection.onClose = () => void this.#open.delete(connection);
    if (this.api.isDown) {
      connection.breakSoon("ECONNREFUSED");
      return await connection.response;
    }
    const upMs = faults.happens("api slow") ? random() * 20_000 : this.#latencyMs();
    if (faults.happens("api request lost")) clock.after(upMs, owner, () => connection.fail("ECONNRESET"));
    else if (faults.happens("api busy")) clock.after(upMs, owner, () => connection.respond(busyAnswer(random())));
    else clock.after(upMs, world, () => this.#arrive(owner, connection, call, label));
    return await connection.response;
  }

  #arrive(owner: Owner, connection: Connection, call: ApiCall, label: string): void {
    const { clock, faults, random, trace, onStep } = this.parts;
    const { api } = this;
    // The server gives up what waits if the sender is dead or does not wait any more. Source: Go net/http, context of a request.
    if (api.isDown || connection.isClosed || !owner.alive) return;
    if (faults.happens("versions forgotten")) api.forget();
    if (call.query.has("watch")) {
      clock.after(this.#latencyMs(), owner, () => this.#watch(owner, connection, call));
      return;
    }
    const program = this.#followed(call);
    if (program) {
      clock.after(this.#latencyMs(), owner, () => followSilence(owner, connection, program));
      return;
    }
    const answer = api.handle(call);
    trace(() => `${label} -> ${answer.status}`);
    onStep(owner);
    // A lost connection breaks at once, or stays silent until the time limit of the request.
    if (faults.happens("api response lost")) {
      if (random() < 0.7) connection.breakSoon("ECONNRESET");
      return;
    }
    const received = faults.happens("api failed")
      ? refusal(500, "InternalError", "etcdserver: request timed out")
      : answer;
    const downMs = faults.happens("api slow") ? random() * 20_000 : this.#latencyMs();
    clock.after(downMs, owner, () => connection.respond(received));
  }

  /** Returns the program whose output is followed by this request; null if there is none that runs. */
  #followed({ path, query }: ApiCall): RunProcess | null {
    return query.get("follow") === "true" ? this.programIn(path.split("/").at(-2) ?? "") : null;
  }

  /** A watch sends each change after its version, in order. It may fall silent, break, or be behind. */
  #watch(owner: Owner, connection: Connection, call: ApiCall): void {
    const { clock, faults, random, world } = this.parts;
    const { api } = this;
    const behindMs = faults.happens("watch behind") ? random() * 10_000 : 0;
    let isSilent = false;
    let lastArrival = 0;
    const send = (line: WatchLine): void => {
      if (!owner.alive) connection.close();
      if (connection.isClosed) return;
      if (faults.happens("watch silent")) isSilent = true;
      if (isSilent) return;
      if (faults.happens("watch cut")) {
        connection.breakSoon("ECONNRESET");
        return;
      }
      lastArrival = Math.max(lastArrival, clock.now + this.#latencyMs() + behindMs);
      clock.after(lastArrival - clock.now, owner, () => connection.push(line));
      if (line.type === "ERROR") clock.after(lastArrival - clock.now, owner, () => connection.endStream());
    };
    connection.beginStream();
    if (connection.isClosed) return;
    const unfollow = api.watch(call, send);
    const { onClose } = connection;
    connection.onClose = () => {
      onClose();
      unfollow();
    };
    const beat = (): void => {
      if (connection.isClosed || !owner.alive) return;
      send(api.bookmark());
      clock.after(bookmarkMs, world, beat);
    };
    clock.after(bookmarkMs, world, beat);
    clock.after(Number(call.query.get("timeoutSeconds")) * 1_000, owner, () => {
      if (!isSilent) connection.endStream();
    });
  }

  #latencyMs(): number {
    return 1 + this.parts.random() * 20;
  }
}

/** The server has too much to do, or a proxy in front of it does not reach it. */
function busyAnswer(random: number): ApiAnswer {
  return random < 0.5 ? refusal(429, "TooManyRequests", "too many requests") : { status: 503, body: "unavailable" };
}

/** The output of a program that prints nothing: a stream that ends with the program. */
function followSilence(owner: Owner, connection: Connection, program: RunProcess): void {
  connection.beginStream();
  program.onEnd(owner, () => connection.endStream());
}

async function* oneChunk(text: string): AsyncGenerator<Buffer> {
  yield Buffer.from(text);
}

function toCall({ method, url, body }: Pick<HttpRequest, "method" | "url" | "body">): ApiCall {
  const parsed = body === undefined ? {} : (JSON.parse(body) as JsonObject);
  return { method, path: url.pathname, query: url.searchParams, body: parsed };
}
