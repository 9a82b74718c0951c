// A worker of the work pool "p" of which only the worker channel runs, against a scripted server.
import { Background } from "../../src/async/background.ts";
import { processBaseJobTemplate } from "../../src/run/base-job-template.ts";
import { WorkerEvents } from "../../src/run/worker-events.ts";
import type { SocketAddress } from "../../src/sockets/connect.ts";
import type { WorkerHello } from "../../src/sockets/worker-channel-frames.ts";
import { keepChannel } from "../../src/worker/channel-loop.ts";
import { Worker } from "../../src/worker/worker.ts";
import { readyFrame } from "../support/channel-frames.ts";
import { type Script, type ScriptedServer, type SocketStep, startScriptedServer } from "../support/scripted-server.ts";
import type { ScriptedSocket } from "../support/scripted-socket.ts";
import { openTestClient } from "./test-client.ts";
import { recordingLogger, socketAddress, untilTheEnd } from "./test-socket.ts";

/** Where the channel is. */
export const channelPath = "/api/work_pools/p/workers/connect";

/** A server with these connections of the channel, one after the other. */
export function startChannelServer(sockets: SocketStep[], http: Script["http"] = {}): Promise<ScriptedServer> {
  return startScriptedServer({ sockets: { [channelPath]: sockets }, http });
}

/** Takes authentication and hello, and answers with ready; gives the hello. */
export async function acceptHello(
  socket: ScriptedSocket,
  changes: Parameters<typeof readyFrame>[1] = {},
): Promise<WorkerHello> {
  await socket.acceptAuth();
  const { type, payload } = await socket.next<{ type: string; payload: WorkerHello }>();
  if (type !== "worker.hello.v1") throw new Error(`expected worker.hello.v1, got ${type}`);
  socket.send(readyFrame(payload.consumer_id, changes));
  return payload;
}

/** What the worker's Python has. */
export const integrations = [{ name: "prefect-aws", version: "0.6.0" }];

/** A worker that nothing has been started of; `origin` is the server's, `random` 0 gives the shortest waits. */
export function openWorker(origin: string, random: () => number = () => 0) {
  const { log, records } = recordingLogger();
  const api = openTestClient(origin, { log });
  const worker = new Worker(
    {
      name: "w",
      workPoolName: "p",
      workQueueNames: ["b", "a"],
      limit: null,
      runOnce: false,
      createPoolIfNotFound: true,
      baseJobTemplate: null,
      prefetchSeconds: 10,
      querySeconds: 10,
      heartbeatSeconds: 30,
      healthcheck: null,
      isObserved: false,
      flowRunHeartbeatSeconds: null,
      cancellation: { enabled: false, pollSeconds: 120, crashOnFailure: false },
    },
    {
      api,
      uiUrl: null,
      named: () => log,
      announce: () => undefined,
      poolType: {
        name: "process",
        baseJobTemplate: processBaseJobTemplate,
        start: () => Promise.reject(new Error("nothing is started here")),
        endAbandoned: () => Promise.resolve(false),
      },
      python: Promise.resolve({ kind: "found", engine: { python: "python", prefectVersion: "3.9.1", integrations } }),
      exportedSettings: () => ({}),
      workerEnvironment: {},
      events: new WorkerEvents({ name: "w", slug: "w", type: "process" }, () => undefined),
      background: new Background(),
      leave: untilTheEnd,
      random,
    },
  );
  return { worker, records };
}

/** Keeps the channel until disposed; `ended` resolves when it is given up, or at dispose. */
export function runChannel(
  server: ScriptedServer,
  changes: Partial<SocketAddress> = {},
  options: { laterMs?: number } = {},
) {
  const stop = new AbortController();
  const { worker, records } = openWorker(server.url);
  let isEnded = false;
  const ended = keepChannel(worker, socketAddress(server.url, changes), stop.signal, options).then(() => {
    isEnded = true;
  });
  return {
    worker,
    records,
    ended,
    isEnded: () => isEnded,
    async [Symbol.asyncDispose]() {
      stop.abort();
      await ended;
      worker.api[Symbol.dispose]();
    },
  };
}
