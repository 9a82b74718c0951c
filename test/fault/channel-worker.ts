// A worker of the work pool "p" of which only the worker channel runs, against a scripted server.
import type { FlowRun, WorkPool } from "../../src/api/wire.ts";
import { Background } from "../../src/async/background.ts";
import { createStopControl } from "../../src/host/stop-control.ts";
import type { Infrastructure } from "../../src/infrastructure/pool-type.ts";
import { processPoolType } from "../../src/infrastructure/process/process-infrastructure.ts";
import { toProgram } from "../../src/job/program-fields.ts";
import { Journal } from "../../src/journal/journal.ts";
import { MachineHealth } from "../../src/run/machine-health.ts";
import { ProposalBound } from "../../src/run/proposal-bound.ts";
import { createRunRecord } from "../../src/run/run-record.ts";
import { SharedReads } from "../../src/run/shared-reads.ts";
import { StartPacer } from "../../src/run/start-pacer.ts";
import { WorkerEvents } from "../../src/run/worker-events.ts";
import type { SocketAddress } from "../../src/sockets/connect.ts";
import type { WorkerHello } from "../../src/sockets/worker-channel-frames.ts";
import { keepChannel } from "../../src/worker/channel-loop.ts";
import { Slots } from "../../src/worker/slots.ts";
import { Worker, type WorkerOptions } from "../../src/worker/worker.ts";
import { readyFrame } from "../support/channel-frames.ts";
import { type Script, type ScriptedServer, type SocketStep, startScriptedServer } from "../support/scripted-server.ts";
import type { ScriptedSocket } from "../support/scripted-socket.ts";
import { openTestClient } from "./test-client.ts";
import { recordingLogger, socketAddress } from "./test-socket.ts";

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

/** A text that the worker hides in what it reports. */
export const secret = "pass-word-1";

/** What the worker's Python has. */
export const integrations = [{ name: "prefect-aws", version: "0.6.0" }];

/** Infrastructure that starts nothing and finds nothing. */
const infrastructure: Infrastructure = {
  toJob: (fields, facts) => ({ program: toProgram(fields, facts, {}) }),
  obstacle: async () => null,
  start: () => Promise.reject(new Error("nothing is started here")),
  adopt: () => Promise.reject(new Error("nothing is adopted here")),
  hooksOfLost: () => ({ runsItself: { cancellation: false, crashed: true }, run: async () => undefined }),
  findAbandoned: async () => null,
  findStarted: async () => [],
  integrations: async () => integrations,
  [Symbol.dispose]: () => undefined,
};

/** What `openWorker` starts from. */
export interface TestWorkerOptions {
  /** 0 gives the shortest waits. */
  random?: () => number;
  cancellation?: Partial<WorkerOptions["cancellation"]>;
  workQueueNames?: readonly string[];
  lostAfterMs?: number;
  livingInstances?: readonly string[];
}

/** A worker that nothing has been started of; `origin` is the server's. */
export function openWorker(origin: string, options: TestWorkerOptions = {}) {
  const { random = () => 0, cancellation = {}, workQueueNames = ["b", "a"] } = options;
  const { lostAfterMs = 0, livingInstances = [] } = options;
  const { log, records } = recordingLogger();
  const api = openTestClient(origin, { log });
  const worker = new Worker({
    options: {
      name: "w",
      workPoolName: "p",
      workQueueNames,
      createPoolIfNotFound: true,
      baseJobTemplate: null,
      prefetchSeconds: 10,
      querySeconds: 10,
      heartbeatSeconds: 30,
      isObserved: false,
      cancellation: { enabled: false, pollSeconds: 120, crashOnFailure: false, ...cancellation },
    },
    services: {
      stop: createStopControl(),
      slots: new Slots(null),
      background: new Background(),
      environment: {},
      exportedSettings: () => ({}),
      cancelsPending: false,
      flowRunHeartbeatSeconds: null,
      journal: Journal.none("not in this test", log),
      machine: new MachineHealth(log),
      proposals: new ProposalBound(),
      reads: new SharedReads(),
      pacer: new StartPacer(4, () => Number.POSITIVE_INFINITY),
      instance: { instance: null, host: "host" },
      onLost: "crash",
      lostAfterMs,
      livingInstances: async () => livingInstances,
      lastOutageAt: () => undefined,
      slotFreed: () => undefined,
      named: () => log,
      announce: () => undefined,
      logs: null,
      redact: (text) => text.replaceAll(secret, "********"),
      random,
    },
    api,
    identity: { name: "w", type: "process", id: () => api.attribution.workerId, pageUrl: () => null },
    poolType: processPoolType,
    infrastructure,
    events: new WorkerEvents({ name: "w", slug: "w", type: "process" }, () => undefined),
  });
  return { worker, records, client: api };
}

/** Puts a flow run into the worker's hands, where it stays until `execute` resolves. */
export function takeFlowRun(worker: Worker, id: string, execute: (stop: AbortSignal) => Promise<void>): void {
  worker.runs.take(
    createRunRecord({
      flowRun: { id, name: "run" } as FlowRun,
      workPool: { id: "pool", name: "p" } as WorkPool,
      slot: { [Symbol.dispose]: () => undefined },
      log: worker.log,
    }),
    async (run) => {
      await execute(run.stop.signal);
      return true;
    },
    () => undefined,
  );
}

/** Keeps the channel until disposed; `ended` resolves when it is given up, or at dispose. */
export function runChannel(
  server: ScriptedServer,
  changes: Partial<SocketAddress> = {},
  options: { laterMs?: number } = {},
) {
  const stop = new AbortController();
  const { worker, records, client } = openWorker(server.url);
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
      client[Symbol.dispose]();
    },
  };
}
