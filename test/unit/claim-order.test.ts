// The order in which the workers of a pool take a flow run.
import { randomUUID } from "node:crypto";
import { describe, expect, test } from "vitest";
import type { FlowRun } from "../../src/api/wire.ts";
import { RunHistory } from "../../src/run/run-history.ts";
import { ClaimOrder, delayPerRankMs, longestDelayMs } from "../../src/worker/claim-order.ts";
import { FlowRuns } from "../../src/worker/flow-runs.ts";

const online = (names: readonly string[]) => names.map((name) => ({ name, status: "ONLINE" as const }));

/** Workers with names that differ in their last letters only, each with the list of all. */
function startOrders(count: number): ClaimOrder[] {
  const names = Array.from({ length: count }, (_, index) => `worker-${index}`);
  return names.map((name) => {
    const order = new ClaimOrder(name);
    order.update(online(names));
    return order;
  });
}

describe("the order of claims", () => {
  test("has exactly one first worker for each flow run among 50, and each rank once", () => {
    const orders = startOrders(50);
    for (let run = 0; run < 500; run++) {
      const id = randomUUID();
      const ranks = orders.map((order) => order.rank(id)).sort((one, other) => one - other);
      expect(ranks).toEqual(Array.from({ length: 50 }, (_, rank) => rank));
    }
  });

  test("gives each of five workers about a fifth of the flow runs first", () => {
    const orders = startOrders(5);
    const firsts = orders.map(() => 0);
    for (let run = 0; run < 5_000; run++) {
      const id = `00000000-0000-4000-8000-${String(run).padStart(12, "0")}`;
      const first = orders.findIndex((order) => order.rank(id) === 0);
      firsts[first] = (firsts[first] ?? 0) + 1;
    }
    // 1,000 each on average; the standard deviation is 28.
    for (const first of firsts) expect(Math.abs(first - 1_000)).toBeLessThan(150);
  });

  test("keeps the order of those that stay when a worker leaves", () => {
    const id = randomUUID();
    const order = new ClaimOrder("a");
    order.update(online(["a", "b", "c", "d"]));
    const before = order.rank(id);
    order.update(online(["a", "b", "c"]));
    expect([before, before - 1]).toContain(order.rank(id));
  });

  test("delays by a quarter of a second per rank, by two seconds at most", () => {
    const orders = startOrders(20);
    const id = randomUUID();
    const delays = orders.map((order) => [order.rank(id), order.delayMs(id)] as const);
    for (const [rank, delayMs] of delays) expect(delayMs).toBe(Math.min(rank * delayPerRankMs, longestDelayMs));
  });

  test("waits longer per rank where claims take long, up to a second, and recovers quickly", () => {
    const order = new ClaimOrder("a");
    order.update(online(["a", "b"]));
    const id = Array.from({ length: 100 }, () => randomUUID()).find((each) => order.rank(each) === 1) ?? "";
    for (let claim = 0; claim < 100; claim++) order.observe(400);
    expect(order.delayMs(id)).toBeCloseTo(800, 0);
    for (let claim = 0; claim < 100; claim++) order.observe(60_000);
    expect(order.delayMs(id)).toBe(1_000);
    for (let claim = 0; claim < 5; claim++) order.observe(60);
    expect(order.delayMs(id)).toBeLessThan(300);
  });

  test.each([
    ["before the list is known", undefined],
    ["where the list is empty", []],
    ["where only the worker itself is listed", online(["a"])],
    ["where all others are offline", [{ name: "b", status: "OFFLINE" as const }]],
  ])("delays nothing %s", (_when, list) => {
    const order = new ClaimOrder("a");
    if (list) order.update(list);
    expect(order.delayMs(randomUUID())).toBe(0);
  });
});

describe("a flow run that others come first for", () => {
  /** A moment at which both clocks happen to say the same. */
  const at = (ms: number) => ({ wallMs: ms, monotonicMs: ms });
  const start = () =>
    new FlowRuns(10_000, new RunHistory(), {
      delayMs: (id) => (id.startsWith("later") ? 500 : 0),
      observe: () => undefined,
    });
  const flowRun = (id: string, scheduledAt: number) => ({
    work_pool_id: "",
    work_queue_id: "",
    flow_run: { id, next_scheduled_start_time: new Date(scheduledAt).toISOString() } as FlowRun,
  });
  const ids = (flowRuns: FlowRun[]) => flowRuns.map(({ id }) => id);

  test("is no reason to poll until its delay is over", () => {
    const runs = start();
    runs.expected.announce("later", 1_000);
    expect(runs.expected.hasDue(1_499)).toBe(false);
    expect(runs.expected.nextDueInMs(1_000)).toBe(500);
    runs.expected.announce("first", 1_000);
    expect(runs.expected.hasDue(1_000)).toBe(true);
  });

  test("is never polled for once its claim is heard of", () => {
    const runs = start();
    runs.expected.announce("later", 1_000);
    runs.expected.markClaimedElsewhere("later", 1_200);
    expect(runs.expected.nextDueInMs(1_200)).toBe(Number.POSITIVE_INFINITY);
    expect(runs.expected.idsToLookUp()).toEqual([]);
  });

  test("is left out of a poll that comes too early, and taken by the next one", () => {
    const runs = start();
    runs.expected.announce("later", 1_000);
    const returned = [flowRun("later", 0), flowRun("first", 0)];
    expect(ids(runs.expected.selectDue(returned, at(1_100)))).toEqual(["first"]);
    expect(runs.expected.nextDueInMs(1_100)).toBe(400);
    expect(ids(runs.expected.selectDue(returned, at(1_500)))).toEqual(["later", "first"]);
  });

  test("is left to others from when the poll first returns it, where no event has told of it", () => {
    const runs = start();
    expect(runs.expected.selectDue([flowRun("later", 0)], at(1_000))).toEqual([]);
    expect(runs.expected.nextDueInMs(1_000)).toBe(500);
    runs.expected.beforePoll(1_500);
    expect(ids(runs.expected.selectDue([flowRun("later", 0)], at(1_500)))).toEqual(["later"]);
  });

  test("is delayed once, not by each poll that returns it for want of a slot", () => {
    const runs = start();
    runs.expected.selectDue([flowRun("later", 0)], at(1_000));
    for (const ms of [1_500, 2_000, 9_000]) {
      expect(ids(runs.expected.selectDue([flowRun("later", 0)], at(ms)))).toEqual(["later"]);
    }
  });

  test("is delayed from its own time on, where a poll returns it ahead", () => {
    const runs = start();
    expect(runs.expected.selectDue([flowRun("later", 20_000)], at(5_000))).toEqual([]);
    expect(runs.expected.nextDueInMs(5_000)).toBe(5_500);
  });

  test("is delayed again when it is scheduled again after a claim", () => {
    const runs = start();
    runs.expected.announce("later", 1_000);
    runs.expected.markClaimedElsewhere("later", 1_200);
    runs.expected.announce("later", 5_000);
    expect(runs.expected.nextDueInMs(5_000)).toBe(500);
  });
});

describe("a poll's answer that is older than the claim of a flow run", () => {
  const returned = [{ work_pool_id: "", work_queue_id: "", flow_run: { id: "a" } as FlowRun }];
  const at = (ms: number) => ({ wallMs: ms, monotonicMs: ms });

  test("starts nothing", () => {
    const runs = new FlowRuns(0, new RunHistory());
    runs.expected.markClaimedElsewhere("a", 1_000);
    expect(runs.expected.selectDue(returned, at(1_500))).toEqual([]);
    expect(runs.expected.nextDueInMs(1_500)).toBe(Number.POSITIVE_INFINITY);
  });

  test("is believed again after two seconds, and at once when the flow run is scheduled anew", () => {
    const runs = new FlowRuns(0, new RunHistory());
    runs.expected.markClaimedElsewhere("a", 1_000);
    expect(runs.expected.selectDue(returned, at(3_100))).toHaveLength(1);
    runs.expected.markClaimedElsewhere("a", 4_000);
    runs.expected.announce("a", 4_100);
    expect(runs.expected.selectDue(returned, at(4_200))).toHaveLength(1);
  });
});
