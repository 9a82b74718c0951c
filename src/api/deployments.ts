// Routes of deployments and flows. Source: prefect client/orchestration/_deployments and _flows.
import type { Api } from "./api.ts";
import { hasStatus } from "./errors.ts";
import { fieldOf } from "./exact-places.ts";
import type { RequestOptions } from "./request-options.ts";
import { deploymentShape, flowShape } from "./shapes.ts";
import type { Deployment, Flow } from "./wire.ts";

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
