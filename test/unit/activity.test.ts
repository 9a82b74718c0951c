// What a worker knows of its flow runs from what it is told, in whatever order and by whomever.
import { describe, expect, test } from "vitest";
import type { FlowRun, StateType } from "../../src/api/wire.ts";
import { Activity, type LatencyKind } from "../../src/run/activity.ts";

const secondMs = 1000;

/** A record with a clock that stands until it is moved. `at` gives ISO 8601 of so many seconds. */
function newActivity() {
  const clock = { seconds: 100 };
  const activity = new Activity(() => clock.seconds * secondMs);
  const at = (seconds: number): string => new Date(seconds * secondMs).toISOString();
  const flowRun = (id: string, times: Partial<FlowRun> = {}): FlowRun =>
    ({ id, name: `run-${id}`, created: at(10), expected_start_time: at(10), ...times }) as FlowRun;
  const claim = (id: string, seconds: number, times: Partial<FlowRun> = {}): void =>
    activity.claim(flowRun(id, times), { type: "PENDING", name: "Pending", timestamp: at(seconds) });
  const hear = (id: string, type: StateType, seconds?: number): void =>
    activity.hear(id, { type, name: `named-${type}`, ...(seconds !== undefined && { timestamp: at(seconds) }) });
  return { clock, activity, at, claim, hear };
}

describe("the activity of a worker", () => {
  test("is the claim, the first Running and the end of each flow run, by the times the server tells", () => {
    const { activity, claim, hear } = newActivity();
    claim("a", 12);
    activity.describe("a", { flowName: "flow", deploymentName: "deployment" });
    hear("a", "RUNNING", 15);
    expect(activity.find("a")).toMatchObject({ flowName: "flow", state: { type: "RUNNING", name: "named-RUNNING" } });
    hear("a", "SCHEDULED", 16);
    hear("a", "RUNNING", 17);
    hear("a", "COMPLETED", 20);
    activity.leave("a");
    expect(activity.ended).toEqual([
      {
        id: "a",
        name: "run-a",
        flowName: "flow",
        deploymentName: "deployment",
        createdAt: 10 * secondMs,
        dueAt: 10 * secondMs,
        claimedAt: 12 * secondMs,
        runningAt: 15 * secondMs,
        endedAt: 20 * secondMs,
        state: { type: "COMPLETED", name: "named-COMPLETED" },
      },
    ]);
    expect(activity.claimedCount).toBe(1);
    expect(Object.fromEntries(activity.endedByType)).toEqual({ COMPLETED: 1 });
  });

  test("does not know flow runs of other workers", () => {
    const { activity, hear } = newActivity();
    hear("b", "RUNNING", 20);
    hear("b", "COMPLETED", 30);
    activity.leave("b");
    expect([activity.find("b"), activity.ended.length, activity.endedByType.size]).toEqual([undefined, 0, 0]);
    expect(activity.latencies.running).toEqual([]);
  });

  test.each<[what: string, told: [StateType, number?][], ends: string]>([
    [
      "an event that comes late tells of the past",
      [
        ["COMPLETED", 30],
        ["RUNNING", 20],
      ],
      "COMPLETED",
    ],
    ["an event from before the claim is none of this attempt", [["FAILED", 5]], "UNKNOWN"],
    ["the engine's word is taken without a time", [["RUNNING", 20], ["COMPLETED"]], "COMPLETED"],
    ["the engine's word changes no end that the server told", [["CRASHED", 20], ["COMPLETED"]], "CRASHED"],
    [
      "an end stands, whatever is scheduled after it",
      [
        ["FAILED", 20],
        ["SCHEDULED", 30],
      ],
      "FAILED",
    ],
    [
      "a later end counts",
      [
        ["COMPLETED", 20],
        ["CANCELLED", 30],
      ],
      "CANCELLED",
    ],
    ["a pause is how it was left", [["RUNNING", 20], ["PAUSED"]], "PAUSED"],
    ["nobody has told", [["RUNNING", 20]], "UNKNOWN"],
  ])("takes the state a flow run was left in from what it hears: %s", (_what, told, ends) => {
    const { clock, activity, claim, hear } = newActivity();
    claim("a", 12);
    for (const [type, seconds] of told) hear("a", type, seconds);
    activity.leave("a");
    expect(activity.ended[0]?.state.type).toBe(ends);
    clock.seconds += 60;
    expect(Object.fromEntries(activity.endedByType)).toEqual({ [ends]: 1 });
  });

  test("attributes an end that is told shortly after, counts it once, and one told too late as unknown", () => {
    const { clock, activity, claim, hear } = newActivity();
    for (const id of ["soon", "late"]) {
      claim(id, 12);
      activity.leave(id);
    }
    expect(activity.endedByType.size).toBe(0);
    clock.seconds += 2;
    hear("soon", "RUNNING", 13);
    hear("soon", "COMPLETED", 101);
    expect(activity.ended[0]).toMatchObject({ state: { type: "COMPLETED" }, runningAt: 13_000, endedAt: 101_000 });
    clock.seconds += 60;
    expect(Object.fromEntries(activity.endedByType)).toEqual({ COMPLETED: 1, UNKNOWN: 1 });
    hear("late", "COMPLETED", 101);
    expect(Object.fromEntries(activity.endedByType)).toEqual({ COMPLETED: 1, UNKNOWN: 1 });
  });

  test("leaves what runs in other hands to them", () => {
    const { activity, claim, hear } = newActivity();
    claim("a", 12);
    hear("a", "SCHEDULED", 13);
    activity.leave("a");
    hear("a", "RUNNING", 101);
    expect(activity.ended[0]).toMatchObject({ state: { type: "SCHEDULED" }, runningAt: null });
  });

  test("is one record per claim when a flow run comes back", () => {
    const { activity, claim, hear } = newActivity();
    claim("a", 12);
    hear("a", "SCHEDULED", 13);
    activity.leave("a");
    claim("a", 20);
    hear("a", "COMPLETED", 25);
    activity.leave("a");
    expect(activity.ended.map(({ state }) => state.type)).toEqual(["SCHEDULED", "COMPLETED"]);
    expect(Object.fromEntries(activity.endedByType)).toEqual({ SCHEDULED: 1, COMPLETED: 1 });
  });

  test("measures waiting from when a flow run was due, never below zero, and tells of it", () => {
    const { activity, at, claim, hear } = newActivity();
    const told: [LatencyKind, number][] = [];
    activity.onLatency = (kind, ms) => told.push([kind, ms]);
    claim("due", 11);
    claim("later", 45, { next_scheduled_start_time: at(50) });
    hear("later", "RUNNING", 51);
    expect(told).toEqual([
      ["claim", 1000],
      ["claim", 0],
      ["running", 1000],
    ]);
    expect(activity.latencies.running).toEqual([{ flowRunName: "run-later", at: 51_000, ms: 1000 }]);
  });

  test("stays small however many flow runs there are", () => {
    const { clock, activity, claim, hear } = newActivity();
    for (let count = 0; count < 1000; count++) {
      clock.seconds++;
      claim(String(count), 12);
      hear(String(count), "RUNNING", 13);
      activity.leave(String(count));
    }
    expect(activity.ended.map(({ id }) => id)).toEqual(Array.from({ length: 50 }, (_, index) => String(950 + index)));
    expect(activity.latencies.claim.length + activity.latencies.running.length).toBe(400);
    clock.seconds += 60;
    expect(activity.endedByType.get("UNKNOWN")).toBe(1000);
  });
});
