// The environment variables of a flow run, without those of the machine that lictor runs on.
import type { Deployment, Flow, FlowRun } from "../api/wire.ts";

/** Whose flow run it is. `workerId` is null until the server has told it; only Prefect Cloud does. */
export interface Attribution {
  flowRun: FlowRun;
  flow: Flow | null;
  deployment: Deployment | null;
  workerName: string;
  workerId: string | null;
}

/** The layers of the environment. Later ones win; attribution lies between the two. */
export interface EnvironmentLayers extends Attribution {
  exportedSettings: Readonly<Record<string, string>>;
  jobEnvironment: Readonly<Record<string, string | null>>;
}

/**
 * Returns the variables of a flow run. A null of the job removes its attribution variable, but no setting. The job wins
 * over settings for the engine and for commands alike. Prefect does so for commands only before 3.8.4.
 * Source: prefect workers/base.py prepare_for_flow_run, runner/_starter_engine.py.
 */
export function flowRunEnvironment(layers: EnvironmentLayers): Record<string, string> {
  return {
    ...layers.exportedSettings,
    ...omitUnset({ ...attributionVariables(layers), ...layers.jobEnvironment }),
    // Last, because with another id the child would execute another flow run.
    PREFECT__FLOW_RUN_ID: layers.flowRun.id,
  };
}

/** The child sends these as headers of its requests. Source: prefect workers/base.py _base_attribution_environment. */
function attributionVariables({ flowRun, flow, deployment, workerName, workerId }: Attribution) {
  return {
    PREFECT__WORKER_ID: workerId ?? undefined,
    PREFECT__WORKER_NAME: workerName,
    PREFECT__FLOW_ID: flowRun.flow_id,
    PREFECT__FLOW_NAME: flow?.name,
    PREFECT__DEPLOYMENT_ID: flowRun.deployment_id,
    PREFECT__DEPLOYMENT_NAME: deployment?.name,
  };
}

/** Leaves out variables without a value. */
export function omitUnset(variables: Record<string, string | null | undefined>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(variables).filter((entry): entry is [string, string] => typeof entry[1] === "string"),
  );
}
