// A claim that took effect after the flow run had ended, and a user who cancels the flow run before its end is restored.
import { expect, test } from "vitest";
import type { JsonObject } from "../../src/api/wire.ts";
import { goodDeployment, goodFlow, goodFlowRun } from "../support/api-answers.ts";
import type { AnswerStep } from "../support/scripted-server.ts";
import { startWorker } from "../support/start-worker.ts";
import { startPoolServer } from "./scripted-worker.ts";

const id = "00000000-0000-4000-8000-00000000000b";
const flowRun = { ...(goodFlowRun as JsonObject), id, next_scheduled_start_time: "2020-01-01T00:00:00Z" };

function stateOf(type: string, name: string, transition: string | null = null, at = "01"): JsonObject {
  const details = { flow_run_id: id, scheduled_time: null, transition_id: transition };
  return { type, name, message: null, timestamp: `2020-01-01T00:00:${at}Z`, state_details: details };
}

function decided(status: "ACCEPT" | "REJECT", state: JsonObject): AnswerStep {
  return { status: 201, body: { status, state, details: { reason: "it is being cancelled" } } };
}

test("is Cancelled in the end, because nobody else would report that", async () => {
  const cancelling = stateOf("CANCELLING", "Cancelling", null, "03");
  const pending = stateOf("PENDING", "Pending", null, "02");
  await using server = await startPoolServer({
    polls: [{ body: [{ work_pool_id: "", work_queue_id: "", flow_run: flowRun }] }],
    http: {
      [`GET /api/deployments/${goodDeployment.id}`]: [{ body: goodDeployment, always: true }],
      [`GET /api/flows/${goodFlow.id}`]: [{ body: goodFlow, always: true }],
      [`PATCH /api/flow_runs/${id}`]: [{ status: 204, always: true }],
      [`PATCH /api/flow_runs/${id}/labels`]: [{ status: 204, always: true }],
      [`GET /api/flow_runs/${id}`]: [{ body: { ...flowRun, state_type: "PENDING", state: pending }, always: true }],
      "GET /api/flow_run_states/": [{ body: [stateOf("COMPLETED", "Completed", "other"), pending], always: true }],
      [`POST /api/flow_runs/${id}/set_state`]: [
        decided("ACCEPT", pending),
        // The end that is restored, and Submitting.
        decided("REJECT", cancelling),
        decided("REJECT", cancelling),
        decided("ACCEPT", stateOf("CANCELLED", "Cancelled", null, "04")),
      ],
    },
  });
  await using worker = await startWorker("p", { apiUrl: `${server.url}/api`, name: "w" });
  await worker.waitForOutput(/could not be restored: it is being cancelled/, 20_000);
  await worker.waitForOutput(/Cancelled pending flow run/, 20_000);
  const names = server.requests
    .filter(({ path }) => path.endsWith("/set_state"))
    .map(({ body }) => (JSON.parse(body) as { state: { name: string } }).state.name);
  expect(names).toEqual(["Pending", "Completed", "Submitting", "Cancelled"]);
});
