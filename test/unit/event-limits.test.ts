import { describe, expect, test } from "vitest";
import type { EventResource, PrefectEvent } from "../../src/api/wire.ts";
import { fitEvent } from "../../src/sockets/event-limits.ts";

const tag = (name: string): EventResource => ({ "prefect.resource.id": name, "prefect.resource.role": "tag" });
const flow: EventResource = { "prefect.resource.id": "flow", "prefect.resource.role": "flow" };
const workPool: EventResource = { "prefect.resource.id": "pool", "prefect.resource.role": "work-pool" };

function event(related: EventResource[], labels: EventResource = {}): PrefectEvent {
  const resource = { "prefect.resource.id": "w", ...labels };
  return { id: "e", occurred: "2026-01-01T00:00:00Z", event: "x", resource, related, payload: {}, follows: null };
}

function limits(related: number, bytes = 1_500_000, labels = 500) {
  return {
    PREFECT_SERVER_EVENTS_MAXIMUM_RELATED_RESOURCES: related,
    PREFECT_SERVER_EVENTS_MAXIMUM_LABELS_PER_RESOURCE: labels,
    PREFECT_SERVER_EVENTS_MAXIMUM_SIZE_BYTES: bytes,
  };
}

describe("an event that is over a limit of the server", () => {
  const all = [flow, tag("a"), tag("b"), tag("c"), workPool];
  test.each<[name: string, limits: ReturnType<typeof limits>, kept: string[], left: number]>([
    ["one within the limits is kept as it is", limits(5), ["flow", "a", "b", "c", "pool"], 0],
    ["the last tags are left out first", limits(3), ["flow", "a", "pool"], 2],
    ["what is no tag is left out only where nothing else is left", limits(1), ["flow"], 4],
    ["no related resource at all may be allowed", limits(0), [], 5],
    [
      "one too large loses as many as are too much",
      limits(5, JSON.stringify(event(all)).length - 1),
      ["flow", "a", "b", "pool"],
      1,
    ],
  ])("%s", (_name, given, kept, left) => {
    const fitted = fitEvent(event(all), given);
    expect(fitted?.event.related.map((resource) => resource["prefect.resource.id"])).toEqual(kept);
    expect(fitted?.omittedCount).toBe(left);
  });

  test("is dropped when it is too large by itself", () => {
    expect(fitEvent(event([], { long: "x".repeat(100) }), limits(5, 100))).toBeUndefined();
  });

  test("counts its size in bytes, not in letters", () => {
    const given = limits(5, JSON.stringify(event(all)).length + 30);
    const fitted = fitEvent(event([...all.slice(0, 4), tag("ж".repeat(40))]), given);
    expect(fitted?.event.related.map((resource) => resource["prefect.resource.role"])).toEqual([
      "flow",
      "tag",
      "tag",
      "tag",
    ]);
  });

  test("loses labels over the limit, but not the id of the resource", () => {
    const fitted = fitEvent(event([], { one: "1", two: "2" }), limits(5, 1_500_000, 2));
    expect(fitted?.event.resource).toEqual({ "prefect.resource.id": "w", one: "1" });
  });
});
