// Builds the environment variables of a flow run, without the variables of the machine that lictor runs on.
import type { Deployment, Flow, FlowRun } from "../api/wire.ts";

/** To what a flow run belongs. `workerId` is null until the server sends it, which only Prefect Cloud does. */
export interface Attribution {
  flowRun: FlowRun;
  flow: Flow | null;
  deployment: Deployment | null;
  workerName: string;
  workerId: string | null;
}

/** The layers of the environment: settings, then attribution, then the job's variables. A later layer wins. */
export interface EnvironmentLayers extends Attribution {
  exportedSettings: Readonly<Record<string, string>>;
  jobEnvironment: Readonly<Record<string, string | null>>;
}

/**
 * Returns the variables of a flow run. A null in the job removes an attribution variable, but not a setting. The job's
 * variables win over settings, for the engine and for commands. Before 3.8.4, Prefect did so only for commands.
 * Source: prefect workers/base.py prepare_for_flow_run, runner/_starter_engine.py.
 */
export function flowRunEnvironment(layers: EnvironmentLayers): Record<string, string> {
  return {
    ...layers.exportedSettings,
    ...omitUnset({ ...attributionVariables(layers), ...layers.jobEnvironment }),
    // It comes last, because with another id the child would execute another flow run.
    PREFECT__FLOW_RUN_ID: layers.flowRun.id,
  };
}

/** The engine sends these in the headers of its requests. Source: prefect workers/base.py _base_attribution_environment. */
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

/** Returns the variables that have a value. */
export function omitUnset(variables: Record<string, string | null | undefined>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(variables).filter((entry): entry is [string, string] => typeof entry[1] === "string"),
  );
}
