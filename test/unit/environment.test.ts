// A flow run's variables: which layer wins, one row per rule.
import { describe, expect, test } from "vitest";
import type { Deployment, Flow, FlowRun } from "../../src/api/wire.ts";
import { type EnvironmentLayers, flowRunEnvironment } from "../../src/job/flow-run-environment.ts";

const layers: EnvironmentLayers = {
  exportedSettings: {},
  jobEnvironment: {},
  flowRun: { id: "run-1", flow_id: "flow-1", deployment_id: "deployment-1" } as FlowRun,
  flow: { id: "flow-1", name: "my flow", tags: [] } as Flow,
  deployment: { id: "deployment-1", name: "my deployment" } as Deployment,
  workerName: "w",
  workerId: "worker-1",
};
const attribution = {
  PREFECT__FLOW_RUN_ID: "run-1",
  PREFECT__WORKER_ID: "worker-1",
  PREFECT__WORKER_NAME: "w",
  PREFECT__FLOW_ID: "flow-1",
  PREFECT__FLOW_NAME: "my flow",
  PREFECT__DEPLOYMENT_ID: "deployment-1",
  PREFECT__DEPLOYMENT_NAME: "my deployment",
};

describe("flowRunEnvironment", () => {
  const rows: [rule: string, changes: Partial<EnvironmentLayers>, expected: Record<string, string | undefined>][] = [
    ["settings are handed on", { exportedSettings: { PREFECT_API_URL: "b" } }, { PREFECT_API_URL: "b" }],
    [
      "the job wins over settings",
      { exportedSettings: { PREFECT_API_URL: "b" }, jobEnvironment: { PREFECT_API_URL: "c" } },
      { PREFECT_API_URL: "c" },
    ],
    ["the job wins over attribution", { jobEnvironment: { PREFECT__FLOW_NAME: "x" } }, { PREFECT__FLOW_NAME: "x" }],
    ["but never names another flow run", { jobEnvironment: { PREFECT__FLOW_RUN_ID: "run-2" } }, {}],
    ["nor none", { jobEnvironment: { PREFECT__FLOW_RUN_ID: null } }, {}],
    [
      "a null of the job does not unset a setting",
      { exportedSettings: { PREFECT_API_URL: "b" }, jobEnvironment: { PREFECT_API_URL: null } },
      { PREFECT_API_URL: "b" },
    ],
    ["but attribution", { jobEnvironment: { PREFECT__WORKER_ID: null } }, { PREFECT__WORKER_ID: undefined }],
    ["an empty text is a value", { jobEnvironment: { A: "" } }, { A: "" }],
    ["without a worker id there is no variable", { workerId: null }, { PREFECT__WORKER_ID: undefined }],
    [
      "a flow that could not be read has only an id",
      { flow: null },
      { PREFECT__FLOW_NAME: undefined, PREFECT__FLOW_ID: "flow-1" },
    ],
    [
      "without a deployment there are none of its variables",
      { deployment: null, flowRun: { ...layers.flowRun, deployment_id: null } },
      { PREFECT__DEPLOYMENT_ID: undefined, PREFECT__DEPLOYMENT_NAME: undefined },
    ],
  ];
  test.each(rows)("%s", (_rule, changes, expected) => {
    const input = { ...layers, ...changes };
    const before = structuredClone(input);
    expect(flowRunEnvironment(input)).toEqual({ ...attribution, ...expected });
    expect(input).toEqual(before);
  });
});
