// What a worker knows of its flow runs from what it is told, in whatever order and by whomever.
import { describe, expect, test } from "vitest";
import type { Deployment, FlowRun, StateType, WorkPool } from "../../src/api/wire.ts";
import { type LatencyKind, RunHistory, summarize } from "../../src/run/run-history.ts";
import { createRunRecord, type RunRecord } from "../../src/run/run-record.ts";
import { recordingLogger } from "../fault/test-socket.ts";

const secondMs = 1000;

/** A history with a clock that stands until it is moved. `at` returns ISO 8601 of so many seconds. */
function newHistory() {
  const clock = { seconds: 100 };
  const history = new RunHistory(() => clock.seconds * secondMs);
  const records = new Map<string, RunRecord>();
  const at = (seconds: number): string => new Date(seconds * secondMs).toISOString();
  const recordOf = (id: string): RunRecord => {
    const run = records.get(id);
    if (!run) throw new Error(`no record of ${id}`);
    return run;
  };
  const claim = (id: string, seconds: number, times: Partial<FlowRun> = {}): void => {
    const run = createRunRecord({
      flowRun: { id, name: `run-${id}`, created: at(10), expected_start_time: at(10), ...times } as FlowRun,
      workPool: {} as WorkPool,
      slot: { [Symbol.dispose]: () => undefined },
      log: recordingLogger().log,
    });
    records.set(id, run);
    history.recordClaim(run, { type: "PENDING", name: "Pending", timestamp: at(seconds) });
  };
  const hear = (id: string, type: StateType, seconds?: number): void =>
    history.recordState(recordOf(id), {
      type,
      name: `named-${type}`,
      ...(seconds !== undefined && { timestamp: at(seconds) }),
    });
  const leave = (id: string): void => history.recordLeft(recordOf(id));
  /** The time in which somebody may still tell is over. */
  const settle = (): void => {
    for (const run of records.values()) if (run.phase === "left") history.settle(run);
  };
  return { clock, history, at, recordOf, claim, hear, leave, settle };
}

describe("the history of a worker", () => {
  test("is the claim, the first Running and the end of each flow run, by the times the server tells", () => {
    const { history, recordOf, claim, hear, leave } = newHistory();
    claim("a", 12);
    const run = recordOf("a");
    run.flow = { id: "f", name: "flow", tags: [] };
    run.deployment = { id: "d", name: "deployment" } as Deployment;
    hear("a", "RUNNING", 15);
    expect(summarize(run)).toMatchObject({ flowName: "flow", state: { type: "RUNNING", name: "named-RUNNING" } });
    hear("a", "SCHEDULED", 16);
    hear("a", "RUNNING", 17);
    hear("a", "COMPLETED", 20);
    leave("a");
    expect(history.ended).toEqual([
      {
        id: "a",
        name: "run-a",
        flowName: "flow",
        deploymentName: "deployment",
        times: {
          created: 10 * secondMs,
          due: 10 * secondMs,
          claimed: 12 * secondMs,
          running: 15 * secondMs,
          ended: 20 * secondMs,
        },
        state: { type: "COMPLETED", name: "named-COMPLETED", at: 20 * secondMs },
      },
    ]);
    expect(history.claimedCount).toBe(1);
    expect(Object.fromEntries(history.endedByType)).toEqual({ COMPLETED: 1 });
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
    const { history, claim, hear, leave, settle } = newHistory();
    claim("a", 12);
    for (const [type, seconds] of told) hear("a", type, seconds);
    leave("a");
    expect(history.ended[0]?.state.type).toBe(ends);
    settle();
    expect(Object.fromEntries(history.endedByType)).toEqual({ [ends]: 1 });
  });

  test("attributes an end that is told shortly after, counts it once, and one told too late as unknown", () => {
    const { clock, history, claim, hear, leave, settle } = newHistory();
    for (const id of ["soon", "late"]) {
      claim(id, 12);
      leave(id);
    }
    expect(history.endedByType.size).toBe(0);
    clock.seconds += 2;
    hear("soon", "RUNNING", 13);
    hear("soon", "COMPLETED", 101);
    expect(history.ended[0]).toMatchObject({
      state: { type: "COMPLETED" },
      times: { running: 13_000, ended: 101_000 },
    });
    settle();
    expect(Object.fromEntries(history.endedByType)).toEqual({ COMPLETED: 1, UNKNOWN: 1 });
    hear("late", "COMPLETED", 101);
    settle();
    expect(Object.fromEntries(history.endedByType)).toEqual({ COMPLETED: 1, UNKNOWN: 1 });
  });

  test("leaves what runs in other hands to them", () => {
    const { history, claim, hear, leave } = newHistory();
    claim("a", 12);
    hear("a", "SCHEDULED", 13);
    leave("a");
    hear("a", "RUNNING", 101);
    expect(history.ended[0]).toMatchObject({ state: { type: "SCHEDULED" }, times: { running: null } });
  });

  test("has one summary per claim when a flow run comes back", () => {
    const { history, claim, hear, leave, recordOf } = newHistory();
    claim("a", 12);
    hear("a", "SCHEDULED", 13);
    leave("a");
    history.settle(recordOf("a"));
    claim("a", 20);
    hear("a", "COMPLETED", 25);
    leave("a");
    expect(history.ended.map(({ state }) => state.type)).toEqual(["SCHEDULED", "COMPLETED"]);
    expect(Object.fromEntries(history.endedByType)).toEqual({ SCHEDULED: 1, COMPLETED: 1 });
  });

  test("measures waiting from when a flow run was due, never below zero, and tells of it", () => {
    const { history, at, claim, hear } = newHistory();
    const told: [LatencyKind, number][] = [];
    history.onLatency = (kind, ms) => told.push([kind, ms]);
    claim("due", 11);
    claim("later", 45, { next_scheduled_start_time: at(50) });
    hear("later", "RUNNING", 51);
    expect(told).toEqual([
      ["claim", 1000],
      ["claim", 0],
      ["running", 1000],
    ]);
    expect(history.latencies.running).toEqual([{ flowRunName: "run-later", at: 51_000, ms: 1000 }]);
  });

  test("stays small however many flow runs there are", () => {
    const { clock, history, claim, hear, leave, settle } = newHistory();
    for (let count = 0; count < 1000; count++) {
      clock.seconds++;
      claim(String(count), 12);
      hear(String(count), "RUNNING", 13);
      leave(String(count));
    }
    expect(history.ended.map(({ id }) => id)).toEqual(Array.from({ length: 50 }, (_, index) => String(950 + index)));
    expect(history.latencies.claim.length + history.latencies.running.length).toBe(400);
    settle();
    expect(history.endedByType.get("UNKNOWN")).toBe(1000);
  });
});
