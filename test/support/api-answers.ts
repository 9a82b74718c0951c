// Answers of a healthy API, one of each kind, as the server sends them.
import type { JsonObject } from "../../src/api/wire.ts";

const id = (last: string): string => `00000000-0000-4000-8000-00000000000${last}`;

export const goodState = {
  id: id("5"),
  type: "SCHEDULED",
  name: "Scheduled",
  timestamp: "2026-11-23T10:00:00Z",
  message: null,
  state_details: { scheduled_time: "2026-11-23T10:00:00Z", transition_id: id("6") },
};

export const goodFlowRun = {
  id: id("1"),
  name: "busy-bee",
  created: "2026-11-23T10:00:00Z",
  flow_id: id("2"),
  deployment_id: id("3"),
  state_type: "SCHEDULED",
  state_name: "Scheduled",
  state: goodState,
  tags: ["a", "b"],
  job_variables: { env: { A: "1" } },
  infrastructure_pid: null,
  expected_start_time: "2026-11-23T10:00:00Z",
  next_scheduled_start_time: "2026-11-23T10:00:00Z",
  start_time: null,
  work_queue_id: id("4"),
};

export const goodDeployment = {
  id: id("3"),
  name: "nightly",
  flow_id: id("2"),
  tags: ["c"],
  updated: "2026-11-23T10:00:00Z",
  job_variables: { env: { B: "2" }, command: "true" },
  pull_steps: null,
  entrypoint: "a.py:a",
  path: "/",
  branch: null,
  version_id: id("7"),
  version_info: { type: "git", version: "1" },
};

export const goodFlow = { id: id("2"), name: "flow", tags: ["d"] };

export const goodWorkPool = {
  id: id("8"),
  name: "p",
  type: "process",
  base_job_template: {
    job_configuration: { command: "{{ command }}", env: "{{ env }}", name: "{{ name }}" },
    variables: { properties: { command: {}, env: { default: { C: "3" } }, name: { default: "n" } } },
  },
  is_paused: false,
  concurrency_limit: null,
  status: "READY",
};

export const goodDecision = {
  status: "ACCEPT",
  state: { ...goodState, type: "PENDING", name: "Pending" },
  details: {},
};

export const goodPoll = [{ work_pool_id: id("8"), work_queue_id: id("4"), flow_run: goodFlowRun }];

/** An event of `/events/out`. */
export const goodEvent: JsonObject = {
  type: "event",
  event: {
    id: id("9"),
    occurred: "2026-11-23T10:00:00Z",
    event: "prefect.flow-run.Cancelling",
    resource: { "prefect.resource.id": `prefect.flow-run.${id("1")}`, "prefect.state-type": "CANCELLING" },
    related: [
      {
        "prefect.resource.id": `prefect.work-queue.${id("4")}`,
        "prefect.resource.role": "work-queue",
        "prefect.resource.name": "default",
      },
    ],
  },
};
