// The flow runs of a chaos run: their deployments, how they are created, and how they are read.

import type { FlowRun, JsonObject } from "../../src/api/wire.ts";
import { dockerBaseJobTemplate } from "../../src/infrastructure/docker/base-job-template.ts";
import { kubernetesBaseJobTemplate } from "../../src/infrastructure/kubernetes/base-job-template.ts";
import { inCheckout } from "../support/checkout.ts";
import { HOST_IMAGE, hostVolumes } from "../support/engine-images.ts";
import type { PrefectApi } from "../support/prefect-api.ts";
import { finalTypes } from "../support/prefect-api.ts";
import { allRunKinds, type PlannedRun, type PoolTypeName, type RunKind } from "./plan.ts";

/** The name of the work pool. */
export const pool = "chaos";
const page = 200;

/** Where flow runs find what they need. */
export interface FlowRunPlace {
  poolType: PoolTypeName;
  /** For engines. */
  apiUrl: string;
  /** Where flow runs write their lines. */
  directory: string;
  /** Of their Jobs. */
  namespace: string | undefined;
}

/** Creates the work pool and a deployment of each kind. */
export async function deploy(
  api: PrefectApi,
  { poolType, apiUrl, directory, namespace }: FlowRunPlace,
): Promise<Record<RunKind, string>> {
  const isDocker = poolType === "docker";
  const template = { process: undefined, docker: dockerBaseJobTemplate, kubernetes: kubernetesBaseJobTemplate }[
    poolType
  ];
  await api.createWorkPool(pool, template ? { type: poolType, base_job_template: template } : {});
  const container = isDocker
    ? { image: HOST_IMAGE, volumes: [...(await hostVolumes()), `${directory}:${directory}`] }
    : {};
  const deployments: Partial<Record<RunKind, string>> = {};
  for (const kind of allRunKinds) {
    deployments[kind] = await api.createDeployment({
      flowName: kind,
      name: "chaos",
      workPool: pool,
      path: inCheckout("test/fixtures/flows"),
      entrypoint: "leave_lines.py:leave_lines",
      // An engine gives up after six attempts, which is another program's fault.
      jobVariables: {
        env: { PREFECT_API_URL: apiUrl, PREFECT_CLIENT_MAX_RETRIES: "30" },
        ...container,
        ...(namespace && { namespace }),
      },
    });
  }
  return deployments as Record<RunKind, string>;
}

/** Creates a flow run. */
export async function createRun(
  api: PrefectApi,
  deployments: Record<RunKind, string>,
  file: string,
  { kind, seconds }: PlannedRun,
  index: number,
): Promise<void> {
  const commands: Partial<Record<RunKind, string>> = {
    reports: `${process.execPath} ${inCheckout("test/fixtures/programs/act-like-engine.mjs")} ${file} ${seconds}`,
    exits: `sh ${inCheckout("test/fixtures/programs/exit-seven")} ${file} ${seconds}`,
    script: `${inCheckout("test/fixtures/programs/exit-seven")} ${file} ${seconds}`,
  };
  const command = commands[kind];
  const program = ["sh", inCheckout("test/fixtures/programs/exit-seven"), file, String(seconds)];
  const run = {
    name: `${kind}-${index}`,
    parameters: kind.endsWith("flow") ? { file, seconds, is_failing: kind === "failing-flow" } : {},
    ...(command === undefined ? {} : { jobVariables: { command } }),
    ...(kind === "program" && { jobVariables: { program } }),
  };
  await api.createFlowRun(deployments[kind], run);
}

/** Returns the flow runs of the work pool, those without a final state only if `isUnfinished`. */
export async function readRuns(api: PrefectApi, isUnfinished: boolean): Promise<FlowRun[]> {
  const filter: JsonObject = { work_pools: { name: { any_: [pool] } } };
  if (isUnfinished) filter.flow_runs = { state: { type: { not_any_: [...finalTypes] } } };
  const runs: FlowRun[] = [];
  for (;;) {
    const more = await api.request<FlowRun[]>("POST", "/flow_runs/filter", {
      ...filter,
      sort: "ID_DESC",
      limit: page,
      offset: runs.length,
    });
    runs.push(...more);
    if (more.length < page) return runs;
  }
}
