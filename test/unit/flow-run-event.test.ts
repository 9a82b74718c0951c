import { expect, test } from "vitest";
import type { JsonObject } from "../../src/api/wire.ts";
import { parseFlowRunEvent } from "../../src/sockets/event-subscription.ts";
import { goodEvent } from "../support/api-answers.ts";

const id = "0aB1c2d3-0000-4000-8000-00000000000f";

function eventOf(resourceId: string): JsonObject {
  const event = goodEvent.event as JsonObject;
  return {
    ...goodEvent,
    event: { ...event, resource: { ...(event.resource as JsonObject), "prefect.resource.id": resourceId } },
  };
}

test.each<[name: string, resourceId: string, flowRunId: string | undefined]>([
  ["a flow run", `prefect.flow-run.${id}`, id],
  ["a flow run without an id", "prefect.flow-run.", undefined],
  ["an id that is no UUID", "prefect.flow-run.my-run", undefined],
  ["an id with something after it", `prefect.flow-run.${id}/../x`, undefined],
  ["two ids", `prefect.flow-run.${id}\n${id}`, undefined],
  ["another kind of object", `prefect.task-run.${id}`, undefined],
])("an event about %s is read as far as its id can be looked up", (_name, resourceId, flowRunId) => {
  expect(parseFlowRunEvent(eventOf(resourceId))?.flowRunId).toBe(flowRunId);
});
