// Deployments of programs that know nothing of Prefect. The worker reports their states.
import { randomUUID } from "node:crypto";
import { inject } from "vitest";
import type { JsonObject, StateType } from "../../src/api/wire.ts";
import type { NewFlowRun, PrefectApi } from "../support/prefect-api.ts";
import { startWorker, type WorkerOptions } from "../support/start-worker.ts";
import { newPool, sharedApi } from "./deployments.ts";

export const END_TIMEOUT_MS = 40_000;

/** An artifact as the server has it. */
export interface ArtifactRecord {
  type: string;
  key: string | null;
  description: string | null;
  data: unknown;
  task_run_id: string | null;
}

/** Deploys a shell script with these job variables; gives the deployment's id. `$0` is the first of `args`. */
export async function deployScript(
  api: PrefectApi,
  pool: string,
  script: string,
  jobVariables: JsonObject = {},
  args: readonly string[] = [],
): Promise<string> {
  return await api.createDeployment({
    flowName: "any-program",
    name: `any-program-${randomUUID().slice(0, 8)}`,
    workPool: pool,
    jobVariables: { reporter: "worker", program: ["sh", "-c", script, ...args], ...jobVariables },
  });
}

/** A worker with a pool of its own. */
export async function openPool(options: Partial<WorkerOptions> = {}) {
  const api = sharedApi();
  const pool = await newPool(api);
  const worker = await startWorker(pool, { apiUrl: inject("apiUrl"), ...options });
  return {
    api,
    pool,
    worker,
    /** Starts a flow run of a script. */
    async run(script: string, jobVariables?: JsonObject, flowRun?: NewFlowRun, args?: readonly string[]) {
      const deployment = await deployScript(api, pool, script, jobVariables, args);
      return await api.createFlowRun(deployment, flowRun);
    },
    [Symbol.asyncDispose]: () => worker[Symbol.asyncDispose](),
  };
}

/** The last state of a flow run, and the names of all. */
export async function untilEnd(api: PrefectApi, id: string, type: StateType, timeoutMs = END_TIMEOUT_MS) {
  const { flowRun, states } = await api.waitForState(id, [type], timeoutMs);
  return { flowRun, message: flowRun.state?.message ?? null, names: states.map(({ name }) => name) };
}

/** The artifacts of a flow run, oldest first. */
export async function readArtifacts(api: PrefectApi, id: string): Promise<ArtifactRecord[]> {
  const body = { artifacts: { flow_run_id: { any_: [id] } }, sort: "CREATED_DESC" };
  return (await api.request<ArtifactRecord[]>("POST", "/artifacts/filter", body)).reverse();
}
