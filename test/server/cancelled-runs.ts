// Flow runs to be cancelled, and what the server, their hooks and the machine know of them afterwards.
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { inject } from "vitest";
import type { JsonObject } from "../../src/api/wire.ts";
import type { RunningProgram } from "../support/lictor.ts";
import { type PrefectApi, prefectApi } from "../support/prefect-api.ts";
import { startWorker } from "../support/start-worker.ts";
import { makeTemporaryDirectory } from "../support/temporary-directory.ts";
import { waitFor } from "../support/wait-for.ts";
import { deploy, newPool } from "./deployments.ts";

/** A command that is not Prefect, says `plain`, and does not end. */
export const sleeping = `${process.execPath} -e "console.log('plain');setInterval(()=>0,1e3)"`;

/** What an engine gets to start in, on a machine that starts several. */
export const ENGINE_TIMEOUT_MS = 90_000;

/** A worker with one flow run. */
export interface WorkerWithRun extends AsyncDisposable {
  api: PrefectApi;
  pool: string;
  worker: RunningProgram;
  id: string;
  /** What the hooks have written so far, a line each. */
  hooks: () => Promise<string>;
}

/** Where the worker and the flow run are: `apiUrl` is the worker's way to the server, which may be a proxy. */
export interface RunOptions {
  serverUrl?: string;
  apiUrl?: string;
  env?: Record<string, string>;
  args?: readonly string[];
  parameters?: JsonObject;
}

/** Starts a worker with a flow run of test/fixtures/flows/hooks.py. */
export async function startHooked(flow: string, options: RunOptions = {}): Promise<WorkerWithRun> {
  const directory = await makeTemporaryDirectory("lictor-hooks-");
  const file = join(directory.path, "hooks");
  const run = await startRun({ entrypoint: `hooks.py:${flow}`, jobVariables: { env: { HOOKS_FILE: file } } }, options);
  return {
    ...run,
    hooks: async () => await readFile(file, "utf8").catch(() => ""),
    async [Symbol.asyncDispose]() {
      await run[Symbol.asyncDispose]();
      await directory[Symbol.asyncDispose]();
    },
  };
}

/** Starts a worker with a flow run of a command that is not Prefect. */
export async function startCommand(command: string, options: RunOptions = {}): Promise<WorkerWithRun> {
  return await startRun({ jobVariables: { command } }, options);
}

async function startRun(deployment: Parameters<typeof deploy>[3], options: RunOptions): Promise<WorkerWithRun> {
  const { serverUrl = inject("apiUrl"), apiUrl = serverUrl, env = {}, args = [], parameters = {} } = options;
  const api = prefectApi(serverUrl);
  const pool = await newPool(api);
  const deploymentId = await deploy(api, pool, "hello", deployment);
  const worker = await startWorker(pool, { apiUrl, env, args });
  const { id } = await api.createFlowRun(deploymentId, { parameters }).catch(async (error: Error) => {
    // Nobody else would end it.
    await worker[Symbol.asyncDispose]();
    throw error;
  });
  return { api, pool, worker, id, hooks: async () => "", [Symbol.asyncDispose]: () => worker[Symbol.asyncDispose]() };
}

/** Waits for the flow run to be Cancelled; gives all its states as `name: message`, oldest first. */
export async function untilCancelled(api: PrefectApi, id: string): Promise<string[]> {
  await waitFor(async () => (await api.readFlowRun(id)).state_type === "CANCELLED", {
    // The grace of 30 s, and a Python that has to start for the hooks.
    timeoutMs: 90_000,
    what: "the flow run to be Cancelled",
  });
  return await history(api, id);
}

/** All states of the flow run as `name: message`, oldest first. The claim's own message, which names the worker, is left out. */
export async function history(api: PrefectApi, id: string): Promise<string[]> {
  const states = await api.readStates(id);
  return states.map(({ name, message }) =>
    message && !message.startsWith("Claimed by ") ? `${name}: ${message}` : name,
  );
}

/** Waits until a hook has written something. Hooks come after the state that they are about. */
export async function untilHooks({ hooks }: WorkerWithRun): Promise<void> {
  await waitFor(hooks, { timeoutMs: ENGINE_TIMEOUT_MS, what: "the hooks" });
}

/** Waits until nothing is left of what the worker has started. */
export async function untilNoProcess(worker: RunningProgram): Promise<void> {
  await waitFor(async () => (await worker.descendants()).length === 0, {
    // Hooks may be among them, which need a Python of their own.
    timeoutMs: ENGINE_TIMEOUT_MS,
    what: "no process left",
  });
}
