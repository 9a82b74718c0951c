// The small pieces of state that the loops share: wakes, slots, announced flow runs, the rhythm of a loop.
import { describe, expect, test } from "vitest";
import { ApiError, UnreachableError } from "../../src/api/errors.ts";
import type { FlowRun } from "../../src/api/wire.ts";
import { clampedPoissonMs } from "../../src/async/jitter.ts";
import { Wake } from "../../src/async/wake.ts";
import { AnnouncedRuns } from "../../src/worker/announced-runs.ts";
import { serviceLoop } from "../../src/worker/service-loop.ts";
import { Slots } from "../../src/worker/slots.ts";

const never = new AbortController().signal;

describe("a wake", () => {
  test("ends the sleep with its reason", async () => {
    const wake = new Wake();
    const sleeping = wake.sleep(60_000, never);
    wake.wake("event");
    expect(await sleeping).toBe("event");
  });

  test("while nobody sleeps ends the next sleep at once, several are one", async () => {
    const wake = new Wake();
    for (let count = 0; count < 3; count++) wake.wake("event");
    expect(await wake.sleep(60_000, never)).toBe("event");
    expect(await wake.sleep(1, never)).toBe("timeout");
  });

  test("does not outlive an abort", async () => {
    const stop = new AbortController();
    const wake = new Wake();
    const sleeping = wake.sleep(60_000, stop.signal);
    stop.abort();
    expect(await sleeping).toBe("stopped");
    expect(await wake.sleep(60_000, stop.signal)).toBe("stopped");
  });
});

describe("slots", () => {
  test("are as many as the limit, and come back once however often they are freed", () => {
    const slots = new Slots(2);
    const first = slots.tryAcquire();
    expect(slots.tryAcquire()).toBeDefined();
    expect(slots.tryAcquire()).toBeUndefined();
    first?.[Symbol.dispose]();
    first?.[Symbol.dispose]();
    expect(slots.tryAcquire()).toBeDefined();
    expect(slots.tryAcquire()).toBeUndefined();
  });

  test("never end without a limit", () => {
    const slots = new Slots(null);
    for (let count = 0; count < 1000; count++) expect(slots.tryAcquire()).toBeDefined();
  });
});

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
    const announced = new AnnouncedRuns(10_000);
    const later = new Date(100_000).toISOString();
    announced.read([], [flowRun("later", { next_scheduled_start_time: later })], { wallMs: 50_000, monotonicMs: 7 });
    expect(announced.dueInMs(1_007)).toBe(39_000);
  });

  test("are asked for until a poll returns them or the server says what they are", () => {
    const announced = new AnnouncedRuns(10_000);
    for (const id of ["returned", "taken", "later"]) announced.announce(id, 0);
    announced.forget(["returned"]);
    expect(announced.unread()).toEqual(["taken", "later"]);
    const later = new Date(100_000).toISOString();
    const answers = [
      flowRun("taken", { state_type: "PENDING" }),
      flowRun("later", { next_scheduled_start_time: later }),
    ];
    announced.read(["taken", "later"], answers, at(50_000));
    expect(announced.unread()).toEqual([]);
    expect(announced.dueInMs(50_000)).toBe(40_000);
  });

  test("that are due and were not returned are polled for once more, then left to the regular poll", () => {
    const announced = new AnnouncedRuns(0);
    announced.announce("held", 0);
    const due = flowRun("held", { expected_start_time: new Date(1_000).toISOString() });
    announced.read(["held"], [due], at(5_000));
    expect(announced.dueInMs(5_000)).toBe(300);
    announced.beforePoll(5_300);
    expect(announced.dueInMs(5_300)).toBe(Number.POSITIVE_INFINITY);
    expect(announced.unread()).toEqual([]);
  });

  test("scheduled for later are read again when their poll did not return them", () => {
    const announced = new AnnouncedRuns(0);
    announced.announce("moved", 0);
    announced.read(["moved"], [flowRun("moved", { expected_start_time: new Date(9_000).toISOString() })], at(5_000));
    announced.beforePoll(9_000);
    expect(announced.unread()).toEqual(["moved"]);
  });

  test("that a poll returns ahead of their time are kept for that, minus prefetch", () => {
    const announced = new AnnouncedRuns(10_000);
    announced.announce("later", 0);
    const now = flowRun("now", { next_scheduled_start_time: new Date(60_000).toISOString() });
    const later = flowRun("later", { next_scheduled_start_time: new Date(60_001).toISOString() });
    const returned = [later, now, flowRun("timeless")].map((each) => ({
      work_pool_id: "",
      work_queue_id: "",
      flow_run: each,
    }));
    expect(announced.takeDue(returned, at(50_000)).map(({ id }) => id)).toEqual(["now", "timeless"]);
    expect(announced.unread()).toEqual([]);
    expect(announced.dueInMs(50_000)).toBe(1);
  });

  test("beyond what is remembered are left to the regular poll", () => {
    const announced = new AnnouncedRuns(0);
    for (let id = 0; id < 20_000; id++) announced.announce(String(id), 0);
    expect(announced.unread()).toHaveLength(200);
  });
});

describe("a service loop", () => {
  /** Runs a loop over the outcomes of its turns; gives what it announced and how long it waited between turns. */
  async function run(outcomes: (Error | "ok")[]): Promise<{ said: string[]; waits: number[]; error: unknown }> {
    const said: string[] = [];
    const waits: number[] = [];
    const stop = new AbortController();
    const left = [...outcomes];
    const error = await serviceLoop(
      {
        intervalMs: 1000,
        turn: async () => {
          const outcome = left.shift();
          if (outcome instanceof Error) throw outcome;
          if (left.length === 0) stop.abort();
        },
        wait: async (ms) => void waits.push(Math.round(ms / 1000)),
        announce: (message) => said.push(message),
        random: () => 0.5,
      },
      stop.signal,
    ).catch((thrown: unknown) => thrown);
    return { said, waits, error };
  }
  const down = new UnreachableError("http://h", "ECONNREFUSED", new Error("refused"));

  test("backs off after three failures in a row, and really waits longer, until a success", async () => {
    const { said, waits, error } = await run([down, down, down, down, "ok", "ok"]);
    expect(said).toEqual([
      "\nFailed the last 3 attempts. Please check your environment and configuration.",
      "UnreachableError: http://h: refused",
      "Backing off due to consecutive errors, using increased interval of 2s.",
      "Resetting backoff due to successful run.",
    ]);
    expect(waits).toEqual([1, 1, 2, 2, 1, 1]);
    expect(error).toBeUndefined();
  });

  test("gives up after twelve failures in a row", async () => {
    const { said, error } = await run(Array<Error>(20).fill(down));
    expect(error).toMatchObject({
      message: expect.stringMatching(/^Service exceeded error threshold\. Last error: http:\/\/h: refused$/),
    });
    expect(said.filter((line) => line.startsWith("Backing off"))).toHaveLength(3);
  });

  test("ends at once for what will not pass", async () => {
    const refused = new ApiError("GET", "/x", 401, "Unauthorized");
    expect((await run(["ok", refused, "ok"])).error).toBe(refused);
  });
});

describe("jitter", () => {
  test.each([
    [0.3, 0.752, 1.3],
    [0.2, 0.824, 1.2],
  ])("of factor %s stays between its bounds", (factor, lower, upper) => {
    expect(clampedPoissonMs(1000, factor, () => 0) / 1000).toBeCloseTo(lower, 2);
    expect(clampedPoissonMs(1000, factor, () => 0.999999999) / 1000).toBeCloseTo(upper, 2);
  });

  test("of factor 0 is none, and nothing averages below 0", () => {
    expect(clampedPoissonMs(1000, 0, () => 0.7)).toBe(1000);
    expect(clampedPoissonMs(-1, 0.3, () => 0.7)).toBe(0);
  });
});
