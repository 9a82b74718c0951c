// A flow run with a command for a scripted server: one poll returns it, and the server accepts each of its states.
import { randomUUID } from "node:crypto";
import type { JsonObject } from "../../src/api/wire.ts";
import { goodDeployment, goodFlow, goodFlowRun } from "../support/api-answers.ts";
import type { AnswerStep, Script } from "../support/scripted-server.ts";

const scheduledTime = "2020-01-01T00:00:00Z";

/** Returns the first poll and the routes, for `startPoolServer`. `fields` are further ones of the flow run. */
export function commandFlowRun(
  command: string,
  fields: JsonObject = {},
): { polls: AnswerStep[]; http: NonNullable<Script["http"]> } {
  const id = randomUUID();
  const flowRun = { ...(goodFlowRun as JsonObject), id, next_scheduled_start_time: scheduledTime, ...fields };
  const details = { flow_run_id: id, scheduled_time: scheduledTime };
  const state = { type: "PENDING", name: "Pending", message: null, state_details: details };
  const always = { always: true } as const;
  return {
    polls: [{ body: [{ work_pool_id: "", work_queue_id: "", flow_run: flowRun }] }],
    http: {
      [`GET /api/deployments/${goodDeployment.id}`]: [
        { body: { ...goodDeployment, job_variables: { command } }, ...always },
      ],
      [`GET /api/flows/${goodFlow.id}`]: [{ body: goodFlow, ...always }],
      [`POST /api/flow_runs/${id}/set_state`]: [
        { status: 201, body: { status: "ACCEPT", state, details: {} }, ...always },
      ],
      [`GET /api/flow_runs/${id}`]: [{ body: { ...flowRun, state_type: "COMPLETED", state: null }, ...always }],
      [`PATCH /api/flow_runs/${id}`]: [{ status: 204, ...always }],
      [`PATCH /api/flow_runs/${id}/labels`]: [{ status: 204, ...always }],
      "POST /api/logs/": [{ status: 201, ...always }],
    },
  };
}
