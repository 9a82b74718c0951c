// What `lictor deploy` does: creates or changes flow and deployment over the API.
import { readFile } from "node:fs/promises";
import { resolve } from "node:path";
import type { Api } from "../api/api.ts";
import { createFlow, findDeploymentByName, putDeployment } from "../api/deployments.ts";
import { findWorkPool } from "../api/work-pools.ts";
import { type DeploymentPlan, type PlannedDeployment, planDeployment, splitName } from "./deployment-plan.ts";
import { describeFlow } from "./describe-flow.ts";
import { readDeployments } from "./lictor-toml.ts";
import { openOperatorApi } from "./operator-api.ts";
import type { ProgramContext } from "./program-context.ts";
import { print } from "./terminal.ts";

export { withProgram } from "./program-context.ts";

/** Deploys one plan. Throws an Error. */
export async function deploy(program: ProgramContext, plan: DeploymentPlan): Promise<void> {
  await deployAll(program, [plan]);
}

/** Deploys what a file describes. Throws an Error before anything is deployed if the file is wrong. */
export async function deployFrom(program: ProgramContext, file: string): Promise<void> {
  const text = await readFile(file, "utf8").catch((error: NodeJS.ErrnoException) => {
    throw new Error(`Cannot read ${file} (${error.code}).`);
  });
  await deployAll(program, readDeployments(file, text));
}

async function deployAll(program: ProgramContext, plans: readonly DeploymentPlan[]): Promise<void> {
  for (const plan of plans) check(plan);
  using open = await openOperatorApi(program);
  // A mistake in one must not leave others deployed.
  const planned: PlannedDeployment[] = [];
  for (const plan of plans) planned.push(await planOne(open.api, plan, program));
  for (const each of planned) await deployOne(open.api, each);
}

function check({ name, command, entrypoint }: DeploymentPlan): void {
  splitName(name);
  if ((command[0] ?? "").trim() === "" && entrypoint === null)
    throw new Error(`Nothing to run for '${name}'. Write the command after --, or use --entrypoint file:flow.`);
  if (command.length > 0 && entrypoint !== null)
    throw new Error(`'${name}' has both a command and an entrypoint. Use one of them.`);
}

/** Asks the server for the work pool, and the module of an entrypoint for its flow. Changes nothing. */
async function planOne(api: Api, plan: DeploymentPlan, { env }: ProgramContext): Promise<PlannedDeployment> {
  const pool = await findWorkPool(api, plan.pool);
  if (pool === undefined)
    throw new Error(`Work pool '${plan.pool}' not found. A worker creates it: lictor worker start --pool ${plan.pool}`);
  if (plan.image !== null && pool.type === "process")
    throw new Error(
      `Work pool '${plan.pool}' runs processes, which have no image. Use a docker or kubernetes work pool.`,
    );
  const directory = resolve(plan.workingDir ?? ".");
  const described = plan.entrypoint === null ? null : await describeFlow(plan.entrypoint, { directory, env });
  const own = plan.workingDir !== null && pool.type === "process" ? { ...plan, workingDir: directory } : plan;
  return planDeployment(own, { poolType: pool.type, directory, described });
}

async function deployOne(api: Api, { flow, name, fields }: PlannedDeployment): Promise<void> {
  const existing = await findDeploymentByName(api, { flow, name });
  const { id: flow_id } = await createFlow(api, flow);
  const { id } = await putDeployment(api, { ...fields, flow_id });
  print(`Deployment '${flow}/${name}' successfully ${existing ? "updated" : "created"} with id '${id}'.`);
}
