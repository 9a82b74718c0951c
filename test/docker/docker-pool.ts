// Docker work pools on the shared server, and workers for them on an engine of the tests' own.
import { randomUUID } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, inject } from "vitest";
import type { JsonObject } from "../../src/api/wire.ts";
import { dockerBaseJobTemplate } from "../../src/infrastructure/docker/base-job-template.ts";
import { inCheckout } from "../support/checkout.ts";
import { startDockerEngine } from "../support/docker-engine.ts";
import { BUSYBOX, HOST_IMAGE, hostVolumes } from "../support/engine-images.ts";
import type { DockerEngine } from "../support/engine-program.ts";
import type { RunningProgram } from "../support/lictor.ts";
import { type EventRecord, type PrefectApi, prefectApi } from "../support/prefect-api.ts";
import { startWorker, type WorkerOptions } from "../support/start-worker.ts";
import { makeTemporaryDirectory } from "../support/temporary-directory.ts";
import { waitFor } from "../support/wait-for.ts";

/** A container as the engine lists it. */
export interface ListedContainer {
  Id: string;
  Names: string[];
  State: string;
  Labels: Record<string, string>;
}

/** One work pool of type docker, and an engine. */
export interface DockerPool {
  apiUrl: string;
  api: PrefectApi;
  name: string;
  id: string;
  engine: DockerEngine;
  /** The deployment of shell commands, when one was needed. */
  shell?: Promise<string>;
}

/** The events of a flow run whose container starts and ends. */
export const containerEvents = [
  "prefect.worker.submitted-flow-run",
  "prefect.docker.container.created",
  "prefect.docker.container.running",
  "prefect.docker.container.exited",
  "prefect.worker.executed-flow-run",
];

/** Starting Prefect in a container takes 3 s, and half a minute on a busy machine. */
export const FLOW_TIMEOUT_MS = 150_000;
/** The same for a shell. */
export const SHELL_TIMEOUT_MS = 60_000;

/** Creates a pool of a new name, on the shared server or on another one. */
export async function newDockerPool(
  engine: DockerEngine,
  fields: JsonObject = {},
  apiUrl = inject("apiUrl"),
): Promise<DockerPool> {
  const api = prefectApi(apiUrl);
  const name = `docker-${randomUUID().slice(0, 8)}`;
  const pool = await api.createWorkPool(name, { type: "docker", base_job_template: dockerBaseJobTemplate, ...fields });
  return { apiUrl, api, name, id: pool.id, engine };
}

/** Starts a worker for the pool. */
export async function startDockerWorker(
  { apiUrl, name, engine }: DockerPool,
  options: Partial<WorkerOptions> = {},
): Promise<RunningProgram> {
  return await startWorker(name, {
    apiUrl,
    ...options,
    env: { DOCKER_HOST: engine.host, ...options.env },
  });
}

/** An engine of the tests' own. */
export interface OwnEngine {
  readonly engine: DockerEngine;
}

/** Starts an engine before the tests of a `describe`, and ends it after them. */
export function useEngine(): OwnEngine {
  let engine: DockerEngine | undefined;
  beforeAll(async () => {
    engine = await startDockerEngine();
  });
  afterAll(async () => await engine?.[Symbol.asyncDispose]());
  return {
    get engine() {
      if (!engine) throw new Error("the engine has not been started");
      return engine;
    },
  };
}

/** An engine with a work pool and its worker. */
export interface ServedPool extends OwnEngine {
  readonly pool: DockerPool;
  readonly worker: RunningProgram;
}

/** The same as `useEngine`, with a work pool and a worker for all tests. */
export function useServedPool(): ServedPool {
  const own = useEngine();
  let started: { pool: DockerPool; worker: RunningProgram } | undefined;
  const read = () => {
    if (!started) throw new Error("the worker has not been started");
    return started;
  };
  beforeAll(async () => {
    const pool = await newDockerPool(own.engine);
    started = { pool, worker: await startDockerWorker(pool) };
  });
  afterAll(async () => await started?.worker[Symbol.asyncDispose]());
  return {
    get engine() {
      return own.engine;
    },
    get pool() {
      return read().pool;
    },
    get worker() {
      return read().worker;
    },
  };
}

/** Creates a flow run that runs a shell command in a container of busybox. Returns its id. */
export async function runShell(pool: DockerPool, script: string, jobVariables: JsonObject = {}): Promise<string> {
  const { api, name } = pool;
  pool.shell ??= api.createDeployment({ flowName: "shell", name, workPool: name, jobVariables: { image: BUSYBOX } });
  const command = `sh -c "${script}"`;
  return (await api.createFlowRun(await pool.shell, { jobVariables: { command, ...jobVariables } })).id;
}

/** What a container waits for, so that its test decides when it goes on, on a busy machine too. */
export interface Gate extends AsyncDisposable {
  /** Job variables of the flow run. */
  readonly variables: { volumes: string[] };
  /** A shell command that prints a line several times per second, until the gate is open. */
  readonly wait: string;
  open(): Promise<void>;
}

/** What a container prints while it waits at its gate. */
export const WAITING = "at the gate";

/** Makes a gate. */
export async function makeGate(): Promise<Gate> {
  const directory = await makeTemporaryDirectory("lictor-gate-");
  return {
    variables: { volumes: [`${directory.path}:/gate`] },
    wait: `while [ ! -e /gate/open ]; do echo ${WAITING}; sleep 0.3; done`,
    open: async () => await writeFile(join(directory.path, "open"), ""),
    [Symbol.asyncDispose]: async () => await directory[Symbol.asyncDispose](),
  };
}

/** Creates a flow run of a flow of test/fixtures/flows in a container with the Prefect of the test environment. */
export async function runFlow(
  pool: DockerPool,
  flow: string,
  { parameters = {}, ...jobVariables }: JsonObject = {},
): Promise<string> {
  const deployment = await pool.api.createDeployment({
    flowName: flow,
    name: randomUUID(),
    workPool: pool.name,
    path: inCheckout("test/fixtures/flows"),
    entrypoint: `${flow}.py:${flow}`,
    jobVariables: { image: HOST_IMAGE, volumes: await hostVolumes(), ...jobVariables },
  });
  return (await pool.api.createFlowRun(deployment, { parameters: parameters as JsonObject })).id;
}

/** The containers of a flow run, also those that have ended. */
export async function containersOf({ engine }: DockerPool, flowRunId: string): Promise<ListedContainer[]> {
  const filters = JSON.stringify({ label: [`io.prefect.flow-run-id=${flowRunId}`] });
  const path = `/containers/json?all=1&filters=${encodeURIComponent(filters)}`;
  return (await engine.request<ListedContainer[]>("GET", path)).body;
}

/** Waits until a container of the flow run has this state. Returns its id. */
export async function waitForContainer(pool: DockerPool, flowRunId: string, state = "running"): Promise<string> {
  const find = async () => (await containersOf(pool, flowRunId)).find((container) => container.State === state)?.Id;
  return await waitFor(find, { timeoutMs: SHELL_TIMEOUT_MS, what: `a container of ${flowRunId} that is ${state}` });
}

/** Waits for the end of a flow run, and returns its last state message. */
export async function endOf(
  { api }: Pick<DockerPool, "api">,
  flowRunId: string,
  type: "CRASHED" | "CANCELLED" | "COMPLETED" | "FAILED",
) {
  const { flowRun, states } = await api.waitForState(flowRunId, [type], FLOW_TIMEOUT_MS);
  return { message: flowRun.state?.message, states: states.map(({ name }) => name), flowRun };
}

/** Waits for the log records of a flow run until one matches. Returns all of them. */
export async function logsOf({ api }: Pick<DockerPool, "api">, flowRunId: string, until: RegExp): Promise<string[]> {
  const read = async () => {
    const messages = (await api.readLogs(flowRunId)).map(({ message }) => message);
    return messages.some((message) => until.test(message)) ? messages : undefined;
  };
  return await waitFor(read, { timeoutMs: 30_000, what: `a log record ${until}`, intervalMs: 200 });
}

/** Waits until the server has this event about a flow run. Returns the events about its containers and by its worker. */
export async function eventsOf({ api }: DockerPool, flowRunId: string, until: string): Promise<EventRecord[]> {
  const read = async () => {
    const events = await api.readEvents({ any_resource: { id: [`prefect.flow-run.${flowRunId}`] } });
    const own = events.filter(({ event }) => /^prefect\.(docker|worker)\./.test(event));
    return own.some(({ event }) => event === until) ? own : undefined;
  };
  return await waitFor(read, { timeoutMs: 30_000, what: `the event ${until}`, intervalMs: 200 });
}
