// The environment variables of a flow run process.
import type { Deployment, Flow, FlowRun } from "../api/wire.ts";

/** Whose flow run it is. `workerId` is null until the server has told it; only Prefect Cloud does. */
export interface Attribution {
  flowRun: FlowRun;
  flow: Flow | null;
  deployment: Deployment | null;
  workerName: string;
  workerId: string | null;
}

/** The layers of the environment, the later ones winning, and the attribution between the last two. */
export interface EnvironmentLayers extends Attribution {
  workerEnvironment: Readonly<Record<string, string | undefined>>;
  exportedSettings: Readonly<Record<string, string>>;
  jobEnvironment: Readonly<Record<string, string | null>>;
}

/**
 * The complete environment of the child. A null of the job takes away its attribution variable but neither a setting nor
 * an inherited variable. The job wins over settings, which holds in Prefect >= 3.8.4 for the engine but not for an
 * explicit command: one rule is simpler. Source: prefect workers/base.py prepare_for_flow_run, runner/_starter_engine.py.
 */
export function flowRunEnvironment(layers: EnvironmentLayers): Record<string, string> {
  const environment = {
    ...layers.workerEnvironment,
    ...layers.exportedSettings,
    ...withoutNothing({ ...attributionVariables(layers), ...layers.jobEnvironment }),
    // Again, since with another id the child would execute another flow run.
    PREFECT__FLOW_RUN_ID: layers.flowRun.id,
  };
  return withoutNothing(environment);
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

function withoutNothing(variables: Record<string, string | null | undefined>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(variables).filter((entry): entry is [string, string] => typeof entry[1] === "string"),
  );
}
