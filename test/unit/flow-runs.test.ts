// The table of a worker's flow runs: which are announced, in the worker's hands, or declined.
import { describe, expect, test } from "vitest";
import type { FlowRun, ScheduledFlowRun, WorkPool } from "../../src/api/wire.ts";
import { RunHistory } from "../../src/run/run-history.ts";
import { createRunRecord } from "../../src/run/run-record.ts";
import { FlowRuns } from "../../src/worker/flow-runs.ts";
import { recordingLogger } from "../fault/test-socket.ts";

const runsWithPrefetch = (prefetchMs: number): FlowRuns => new FlowRuns(prefetchMs, new RunHistory());

const scheduled = (flowRun: FlowRun): ScheduledFlowRun => ({ work_pool_id: "", work_queue_id: "", flow_run: flowRun });

describe("announced flow runs", () => {
  const flowRun = (id: string, changes: Partial<FlowRun> = {}): FlowRun =>
    ({
      id,
      state_type: "SCHEDULED",
      next_scheduled_start_time: null,
      expected_start_time: null,
      ...changes,
    }) as FlowRun;

  /** A moment at which both clocks happen to say the same. */
  const at = (ms: number) => ({ wallMs: ms, monotonicMs: ms });

  test("are due by the monotonic clock, so that a wall clock that is set back does not delay them", () => {
    const runs = runsWithPrefetch(10_000);
    const later = new Date(100_000).toISOString();
    runs.expected.addLookedUp([], [flowRun("later", { next_scheduled_start_time: later })], {
      wallMs: 50_000,
      monotonicMs: 7,
    });
    expect(runs.expected.nextDueInMs(1_007)).toBe(39_000);
  });

  test("are asked for until a poll returns them or the server says what they are", () => {
    const runs = runsWithPrefetch(10_000);
    for (const id of ["returned", "taken", "later"]) runs.expected.announce(id, 0);
    runs.expected.selectDue([scheduled(flowRun("returned"))], at(0));
    expect(runs.expected.idsToLookUp()).toEqual(["taken", "later"]);
    const later = new Date(100_000).toISOString();
    const answers = [
      flowRun("taken", { state_type: "PENDING" }),
      flowRun("later", { next_scheduled_start_time: later }),
    ];
    runs.expected.addLookedUp(["taken", "later"], answers, at(50_000));
    expect(runs.expected.idsToLookUp()).toEqual([]);
    expect(runs.expected.nextDueInMs(50_000)).toBe(40_000);
  });

  test("that are due and were not returned are polled for once more, then left to the regular poll", () => {
    const runs = runsWithPrefetch(0);
    runs.expected.announce("held", 0);
    const due = flowRun("held", { expected_start_time: new Date(1_000).toISOString() });
    runs.expected.addLookedUp(["held"], [due], at(5_000));
    expect(runs.expected.nextDueInMs(5_000)).toBe(300);
    runs.expected.beforePoll(5_300);
    expect(runs.expected.nextDueInMs(5_300)).toBe(Number.POSITIVE_INFINITY);
    expect(runs.expected.idsToLookUp()).toEqual([]);
  });

  test("scheduled for later are read again when their poll did not return them", () => {
    const runs = runsWithPrefetch(0);
    runs.expected.announce("moved", 0);
    runs.expected.addLookedUp(
      ["moved"],
      [flowRun("moved", { expected_start_time: new Date(9_000).toISOString() })],
      at(5_000),
    );
    runs.expected.beforePoll(9_000);
    expect(runs.expected.idsToLookUp()).toEqual(["moved"]);
  });

  test("that a poll returns ahead of their time are kept for that, minus prefetch", () => {
    const runs = runsWithPrefetch(10_000);
    runs.expected.announce("later", 0);
    const now = flowRun("now", { next_scheduled_start_time: new Date(60_000).toISOString() });
    const later = flowRun("later", { next_scheduled_start_time: new Date(60_001).toISOString() });
    const returned = [later, now, flowRun("timeless")].map(scheduled);
    expect(runs.expected.selectDue(returned, at(50_000)).map(({ id }) => id)).toEqual(["now", "timeless"]);
    expect(runs.expected.idsToLookUp()).toEqual([]);
    expect(runs.expected.nextDueInMs(50_000)).toBe(1);
  });

  test("beyond what is remembered are left to the regular poll", () => {
    const runs = runsWithPrefetch(0);
    for (let id = 0; id < 20_000; id++) runs.expected.announce(String(id), 0);
    expect(runs.expected.idsToLookUp()).toHaveLength(200);
  });
});

describe("flow runs in the worker's hands", () => {
  const flowRun = (id: string): FlowRun => ({ id, name: id, state_type: "SCHEDULED" }) as FlowRun;
  const ids = (flowRuns: readonly FlowRun[]): string[] => flowRuns.map(({ id }) => id);
  const now = { wallMs: 0, monotonicMs: 0 };

  /** Takes a flow run. The returned function ends it, claimed or declined, and returns whether that is a change. */
  function take(runs: FlowRuns, id: string): (isClaimed: boolean) => Promise<boolean> {
    let settle: (isClaimed: boolean) => void = () => undefined;
    const executed = new Promise<boolean>((resolve) => {
      settle = resolve;
    });
    const run = createRunRecord({
      flowRun: flowRun(id),
      workPool: {} as WorkPool,
      slot: { [Symbol.dispose]: () => undefined },
      log: recordingLogger().log,
    });
    const left = new Promise<boolean>((resolve) => runs.take(run, () => executed, resolve));
    return async (isClaimed) => {
      settle(isClaimed);
      return await left;
    };
  }

  test("are in flight until they leave, and a drain waits for all of them", async () => {
    const runs = runsWithPrefetch(0);
    const [endFirst, endSecond] = [take(runs, "a"), take(runs, "b")];
    let isDrained = false;
    const drained = runs.drained().then(() => {
      isDrained = true;
    });
    expect(runs.list().map(({ flowRun: { id } }) => id)).toEqual(["a", "b"]);
    await endFirst(true);
    expect([runs.has("a"), runs.has("b"), isDrained]).toEqual([false, true, false]);
    await endSecond(true);
    await drained;
    expect(runs.list()).toEqual([]);
  });

  test("are stopped for the first reason that is given", () => {
    const runs = runsWithPrefetch(0);
    void take(runs, "a");
    runs.stop("a", { kind: "cancel" });
    runs.stopAll({ kind: "kill", by: "received a second SIGTERM" });
    runs.stop("unknown", { kind: "cancel" });
    expect(runs.find("a")?.stop.signal.reason).toEqual({ kind: "cancel" });
  });

  test("that could not be claimed come last, until they are claimed or no poll returns them", async () => {
    const runs = runsWithPrefetch(0);
    const all = ["a", "b", "c"].map(flowRun);
    const poll = (returned: FlowRun[]) =>
      runs.expected.sortDeclinedLast(runs.expected.selectDue(returned.map(scheduled), now));
    expect(ids(poll(all))).toEqual(["a", "b", "c"]);
    expect(await take(runs, "a")(false)).toBe(true);
    expect(ids(poll(all))).toEqual(["b", "c", "a"]);
    // Declined twice in a row is no change.
    expect(await take(runs, "a")(false)).toBe(false);
    expect(await take(runs, "a")(true)).toBe(true);
    expect(ids(poll(all))).toEqual(["a", "b", "c"]);
    await take(runs, "b")(false);
    poll([flowRun("c")]);
    expect(ids(poll(all))).toEqual(["a", "b", "c"]);
  });

  test("that are scheduled again while they are in flight are announced when they leave", async () => {
    const runs = runsWithPrefetch(0);
    const end = take(runs, "a");
    const run = runs.find("a");
    if (run) run.times.claimed = 5_000;
    runs.expected.announce("a", 0, 6_000);
    expect(runs.expected.hasDue(0)).toBe(false);
    await end(true);
    expect(runs.expected.idsToLookUp()).toEqual(["a"]);
  });

  test("that hear of their own scheduling late are not announced when they leave", async () => {
    const runs = runsWithPrefetch(0);
    const end = take(runs, "a");
    const run = runs.find("a");
    if (run) run.times.claimed = 5_000;
    runs.expected.announce("a", 0, 4_000);
    await end(true);
    expect(runs.expected.idsToLookUp()).toEqual([]);
  });

  test("are counted when they come back before it was known how they ended", async () => {
    const history = new RunHistory();
    const runs = new FlowRuns(0, history);
    const end = take(runs, "a");
    const run = runs.find("a");
    if (run) history.recordClaim(run, { type: "PENDING", name: "Pending" });
    await end(true);
    expect(history.endedByType.size).toBe(0);
    runs.expected.announce("a", 0);
    expect(Object.fromEntries(history.endedByType)).toEqual({ UNKNOWN: 1 });
  });

  test("that were cleaned up are remembered as such, but not while they run", async () => {
    const runs = runsWithPrefetch(0);
    const end = take(runs, "a");
    runs.markCleanedUp("a");
    expect(runs.isCleanedUp("a")).toBe(false);
    await end(true);
    runs.markCleanedUp("a");
    expect(runs.isCleanedUp("a")).toBe(true);
  });
});
