// Routes of deployments and flows, and of their flow runs. Source: prefect client/orchestration/_deployments and _flows.
import type { Api } from "./api.ts";
import { hasStatus } from "./errors.ts";
import { fieldOf } from "./exact-places.ts";
import type { RequestOptions } from "./request-options.ts";
import { createdFlowRunShape, deploymentShape, flowShape } from "./shapes.ts";
import type { Deployment, Flow, FlowRun, JsonObject } from "./wire.ts";

/** Returns the deployment, or undefined if it has been deleted. Throws the errors of `Api.request`. */
export async function findDeployment(api: Api, id: string, options?: RequestOptions): Promise<Deployment | undefined> {
  try {
    return (await api.request("GET", `/deployments/${id}`, {
      ...options,
      shape: deploymentShape,
      exact: fieldOf("job_variables"),
    })) as unknown as Deployment;
  } catch (error) {
    if (hasStatus(error, 404)) return undefined;
    throw error;
  }
}

/** Returns the flow. Throws ApiError 404 if it has been deleted. */
export async function readFlow(api: Api, id: string, options?: RequestOptions): Promise<Flow> {
  return (await api.request("GET", `/flows/${id}`, { ...options, shape: flowShape })) as unknown as Flow;
}

/** Returns the deployment `flow/deployment`, or undefined if there is none. Throws the errors of `Api.request`. */
export async function findDeploymentByName(
  api: Api,
  { flow, name }: { flow: string; name: string },
): Promise<Deployment | undefined> {
  try {
    const path = `/deployments/name/${encodeURIComponent(flow)}/${encodeURIComponent(name)}`;
    return (await api.request("GET", path, { shape: deploymentShape })) as unknown as Deployment;
  } catch (error) {
    if (hasStatus(error, 404)) return undefined;
    throw error;
  }
}

/** Returns the flow with this name, which is created if there is none. Throws the errors of `Api.request`. */
export async function createFlow(api: Api, name: string): Promise<Flow> {
  return (await api.request("POST", "/flows/", { shape: flowShape, body: { name } })) as unknown as Flow;
}

/**
 * Creates the deployment with these fields, or changes the one of the same flow and name. Its schedules are replaced.
 * Throws the errors of `Api.request`. Source: prefect server/api/deployments.py create_deployment.
 */
export async function putDeployment(api: Api, fields: JsonObject): Promise<Deployment> {
  return (await api.request("POST", "/deployments/", {
    shape: deploymentShape,
    body: fields,
    isBodyExact: true,
  })) as unknown as Deployment;
}

/** Creates a flow run that is due now. The server checks the parameters. Throws the errors of `Api.request`. */
export async function createFlowRun(api: Api, deploymentId: string, parameters: JsonObject): Promise<FlowRun> {
  return (await api.request("POST", `/deployments/${deploymentId}/create_flow_run`, {
    shape: createdFlowRunShape,
    body: { parameters, state: { type: "SCHEDULED", name: "Scheduled" } },
    isBodyExact: true,
  })) as unknown as FlowRun;
}
