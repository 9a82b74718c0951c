// Everything that a chaos run needs: server, network, work pool, two workers, and the flow runs it has created.
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { FlowRun } from "../../src/api/wire.ts";
import { type PrefectApi, prefectApi } from "../support/prefect-api.ts";
import { type PrefectServer, startPrefectServer } from "../support/prefect-server.ts";
import { signalProcess } from "../support/processes.ts";
import { ensurePythonEnvironment } from "../support/python-environment.ts";
import { randomFrom } from "../support/random.ts";
import { makeTemporaryDirectory } from "../support/temporary-directory.ts";
import { Containers } from "./containers.ts";
import { createRun, deploy, pool, readRuns } from "./flow-runs.ts";
import { Gate } from "./gate.ts";
import { type Network, openNetwork } from "./network.ts";
import type { PlannedRun, PoolTypeName } from "./plan.ts";
import { Pods } from "./pods.ts";
import { type SmallDisk, tryMountSmallDisk } from "./small-disk.ts";
import { WorkerSlot } from "./worker-slot.ts";

/** Of each worker. Two workers execute four engines at once, which is much for two processors. */
const limit = 4;
const attempts = 10;
const attemptPauseMs = 1_000;

/** Something that happened to a worker or the server. `atMs` is milliseconds since 1970. */
export interface ArenaEvent {
  atMs: number;
  text: string;
}

/** The arena. Disposing ends every process in it and removes every file. */
export interface Arena extends AsyncDisposable {
  /** Milliseconds since 1970. */
  startedAtMs: number;
  homes: readonly string[];
  stateDirectory: string;
  logs: string;
  executionsFile: string;
  slots: readonly WorkerSlot[];
  network: Network;
  /** Null for a work pool of another type than docker. */
  containers: Containers | null;
  /** Null for a work pool of another type than kubernetes. */
  pods: Pods | null;
  /** Null where no file system can be mounted. */
  disk: SmallDisk | null;
  /** When processes of flow runs were killed, by flow run. */
  killedAtMs: Map<string, number[]>;
  /** The flow runs whose pods were told to end. */
  toldToEnd: string[];
  /** When cancellations were accepted, by flow run. */
  cancelledAtMs: Map<string, number>;
  /** Starts and ends of workers and server. */
  events: ArenaEvent[];
  /** What no fault explains, for example a worker that ended by itself. */
  problems: string[];
  /** Calls the server while it is up. A slow call may still meet a restart, and then fails. */
  call<T>(work: (api: PrefectApi) => Promise<T>): Promise<T>;
  /** Like `call`, for what may be repeated. */
  read<T>(work: (api: PrefectApi) => Promise<T>): Promise<T>;
  createRun(run: PlannedRun, index: number): Promise<void>;
  /** Flow runs of the work pool, those without a final state only if `isUnfinished`. */
  readRuns(isUnfinished?: boolean): Promise<FlowRun[]>;
  restartServer(how: "SIGTERM" | "SIGKILL", pauseMs: number): Promise<void>;
}

interface ArenaOptions {
  seed: number;
  poolType: PoolTypeName;
}

/** Opens the arena. When `stop` aborts, calls are not repeated any more. */
export async function openArena(options: ArenaOptions, stop: AbortSignal): Promise<Arena> {
  const opened: AsyncDisposable[] = [];
  try {
    return await open(options, opened, stop);
  } catch (error) {
    await disposeAll(opened);
    throw error;
  }
}

async function open({ seed, poolType }: ArenaOptions, opened: AsyncDisposable[], stop: AbortSignal): Promise<Arena> {
  const own = <T extends AsyncDisposable>(resource: T): T => {
    opened.push(resource);
    return resource;
  };
  const random = randomFrom(seed);
  const { path: directory } = own(await makeTemporaryDirectory("lictor-chaos-"));
  const inDirectory = (name: string): string => join(directory, name);
  const [stateDirectory, logs, home] = [inDirectory("state"), inDirectory("logs"), inDirectory("server")];
  for (const each of [stateDirectory, logs, home]) await mkdir(each);
  const disk = await tryMountSmallDisk(stateDirectory);
  if (disk) own(disk);
  const events: ArenaEvent[] = [];
  const onEvent = (text: string): void => void events.push({ atMs: Date.now(), text });
  const server = own(await openServer(home, onEvent));
  const network = own(await openNetwork(server.apiUrl, server.gate, random));
  const executionsFile = inDirectory("executions");
  const containers = poolType === "docker" ? own(await Containers.open(onEvent)) : null;
  const { python } = await ensurePythonEnvironment(console.error);
  const pods = poolType === "kubernetes" ? own(await Pods.open(directory, python, random, onEvent)) : null;
  const namespace = pods?.namespace;
  const deployments = await deploy(server.api, { poolType, apiUrl: network.gentleApiUrl, directory, namespace });
  const problems: string[] = [];
  const onProblem = (text: string): void => void problems.push(text);
  const surroundings = { containers, pods, python };
  const slots = openSlots({ directory, logs, stateDirectory, network, ...surroundings, onEvent, onProblem });
  for (const slot of slots) own(slot);
  await Promise.all(slots.map((slot) => slot.open()));
  const call: Arena["call"] = (work) => server.gate.pass(() => work(server.api));
  const read: Arena["read"] = (work) => repeat(() => call(work), stop);
  return {
    startedAtMs: Date.now(),
    homes: slots.map((slot) => slot.home),
    stateDirectory,
    logs,
    executionsFile,
    slots,
    network,
    containers,
    pods,
    disk,
    killedAtMs: new Map(),
    toldToEnd: [],
    cancelledAtMs: new Map(),
    events,
    problems,
    call,
    read,
    // If the server has created a flow run although it did not say so, there is one more to judge.
    createRun: (run, index) => read((api) => createRun(api, deployments, executionsFile, run, index)),
    readRuns: (isUnfinished = false) => read((api) => readRuns(api, isUnfinished)),
    restartServer: (how, pauseMs) => server.restart(how, pauseMs),
    [Symbol.asyncDispose]: () => disposeAll(opened),
  };
}

async function repeat<T>(work: () => Promise<T>, stop: AbortSignal): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await work();
    } catch (error) {
      if (attempt === attempts || stop.aborted) throw error;
      await delay(attemptPauseMs);
    }
  }
}

async function disposeAll(opened: AsyncDisposable[]): Promise<void> {
  for (const each of opened.reverse()) await each[Symbol.asyncDispose]();
}

interface RestartableServer extends AsyncDisposable {
  apiUrl: string;
  api: PrefectApi;
  gate: Gate;
  restart: Arena["restartServer"];
}

async function openServer(home: string, onEvent: (event: string) => void): Promise<RestartableServer> {
  const gate = new Gate();
  let server: PrefectServer = await startPrefectServer({ home });
  const { apiUrl, port } = server;
  return {
    apiUrl,
    api: prefectApi(apiUrl),
    gate,
    restart: (how, pauseMs) =>
      gate.closedFor(async () => {
        if (how === "SIGKILL") signalProcess(-server.pid, "SIGKILL");
        await server.stop();
        onEvent(`the server ended (${how})`);
        await delay(pauseMs);
        server = await startPrefectServer({ home, port });
        onEvent("the server started");
      }),
    [Symbol.asyncDispose]: async () => await server[Symbol.asyncDispose](),
  };
}

interface SlotsOptions {
  directory: string;
  logs: string;
  stateDirectory: string;
  network: Network;
  containers: Containers | null;
  pods: Pods | null;
  python: string;
  onEvent: (event: string) => void;
  onProblem: (problem: string) => void;
}

function openSlots(options: SlotsOptions): WorkerSlot[] {
  const { directory, logs, stateDirectory, network, containers, pods, python, onEvent, onProblem } = options;
  const ofProcesses = ["--type", "process", "--python", python];
  // Without a type, a worker cannot start during an outage.
  const type = pods ? ["--type", "kubernetes"] : containers ? ["--type", "docker"] : ofProcesses;
  return ["chaos-a", "chaos-b"].map(
    (name) =>
      new WorkerSlot({
        name,
        home: join(directory, name),
        logs,
        args: ["--pool", pool, ...type, "--limit", `${limit}`, "--log-format", "json"],
        env: {
          PREFECT_API_URL: network.faultyApiUrl,
          LICTOR_STATE_DIR: stateDirectory,
          ...(containers && { DOCKER_HOST: containers.host }),
          ...pods?.variables,
          // The shortest time after which no engine is taken for lost by mistake.
          LICTOR_LOST_AFTER_SECONDS: "60",
        },
        onEvent,
        onProblem,
      }),
  );
}
