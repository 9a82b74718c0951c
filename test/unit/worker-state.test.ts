// The small pieces of state that the loops share: wakes, slots, the rhythm of a loop.
import { describe, expect, test } from "vitest";
import { ApiError, UnreachableError } from "../../src/api/errors.ts";
import { clampedPoissonMs } from "../../src/async/jitter.ts";
import { Wake } from "../../src/async/wake.ts";
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

  test("by an event does not replace a stronger reason that waits", async () => {
    const wake = new Wake();
    wake.wake("slot");
    wake.wake("event");
    expect(await wake.sleep(60_000, never)).toBe("slot");
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

describe("a service loop", () => {
  /** Runs a loop over the outcomes of its turns; gives what it announced and how many ms it waited between turns. */
  async function run(
    outcomes: (Error | "ok")[],
    intervalMs = 1000,
  ): Promise<{ said: string[]; waits: number[]; error: unknown }> {
    const said: string[] = [];
    const waits: number[] = [];
    const stop = new AbortController();
    const left = [...outcomes];
    const error = await serviceLoop(
      {
        intervalMs,
        turn: async () => {
          const outcome = left.shift();
          if (outcome instanceof Error) throw outcome;
          if (left.length === 0) stop.abort();
        },
        wait: async (ms) => void waits.push(ms),
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
    expect(waits.map((ms) => Math.round(ms / 1000))).toEqual([1, 1, 2, 2, 1, 1]);
    expect(error).toBeUndefined();
  });

  test("gives up after twelve failures in a row", async () => {
    const { said, error } = await run(Array<Error>(20).fill(down));
    expect(error).toMatchObject({
      message: expect.stringMatching(/^Service exceeded error threshold\. Last error: http:\/\/h: refused$/),
    });
    expect(said.filter((line) => line.startsWith("Backing off"))).toHaveLength(3);
  });

  test.each([0, -1, 1])("pauses about 100 ms and backs off also with an interval of %i ms", async (intervalMs) => {
    const { said, waits } = await run(["ok", down, down, down, "ok", "ok"], intervalMs);
    expect(waits.map((ms) => Math.round(ms / 100))).toEqual([1, 1, 1, 2, 1, 1]);
    expect(said.at(-2)).toBe("Backing off due to consecutive errors, using increased interval of 0.2s.");
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
