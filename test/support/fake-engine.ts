// An engine in the test process, for what a healthy engine will not do.
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { join } from "node:path";
import { makeTemporaryDirectory } from "./temporary-directory.ts";

/** A request that the engine received. `path` has neither version nor query. */
export interface EngineRequest {
  method: string;
  path: string;
  query: URLSearchParams;
  headers: IncomingMessage["headers"];
  body: string;
  version: string | undefined;
}

/** Answers one request. */
export type Answer = (response: ServerResponse, request: EngineRequest) => void;

/** The engine. `answers` are looked up by `METHOD /path`; a test may change them at any time. */
export interface FakeEngine extends AsyncDisposable {
  socketPath: string;
  host: string;
  requests: EngineRequest[];
  answers: Record<string, Answer>;
  /** Ends the server and all its connections, as a crash does. */
  stop(): Promise<void>;
  start(): Promise<void>;
}

/** Answers with JSON. */
export function json(body: unknown, status = 200): Answer {
  return (response) => {
    response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
  };
}

/** Answers as the engine explains a failure. */
export function failure(status: number, message: string): Answer {
  return json({ message }, status);
}

/** Returns a frame of a container's output. */
export function frame(stream: 1 | 2, text: string): Buffer {
  const bytes = Buffer.from(text);
  const header = Buffer.alloc(8);
  header[0] = stream;
  header.writeUInt32BE(bytes.length, 4);
  return Buffer.concat([header, bytes]);
}

/** Starts an engine of version 20.10 that knows nothing. */
export async function startFakeEngine(answers: Record<string, Answer> = {}): Promise<FakeEngine> {
  const directory = await makeTemporaryDirectory("lictor-fake-engine-");
  const socketPath = join(directory.path, "docker.sock");
  let server: Server | undefined;
  const engine: FakeEngine = {
    socketPath,
    host: `unix://${socketPath}`,
    requests: [],
    answers: {
      "GET /version": json({ Version: "20.10.24", ApiVersion: "1.41" }),
      "GET /_ping": (response) => void response.end("OK"),
      ...answers,
    },
    async start() {
      server = createServer((request, response) => void receive(engine, request, response));
      await new Promise<void>((resolve) => server?.listen(socketPath, resolve));
    },
    async stop() {
      const stopped = new Promise((resolve) => server?.close(resolve));
      server?.closeAllConnections();
      await stopped;
    },
    async [Symbol.asyncDispose]() {
      await engine.stop();
      await directory[Symbol.asyncDispose]();
    },
  };
  await engine.start();
  return engine;
}

async function receive(engine: FakeEngine, incoming: IncomingMessage, response: ServerResponse): Promise<void> {
  const [, version, path = ""] = /^(?:\/v([\d.]+))?(\/[^?]*)/.exec(incoming.url ?? "") ?? [];
  let body = "";
  for await (const part of incoming) body += String(part);
  const { method = "", headers } = incoming;
  const query = new URLSearchParams(/\?(.*)$/.exec(incoming.url ?? "")?.[1] ?? "");
  const request = { method, path, query, headers, body, version };
  engine.requests.push(request);
  const answer = engine.answers[`${method} ${path}`];
  if (answer) answer(response, request);
  else failure(404, `no such path: ${path}`)(response, request);
}
