// The small pieces of state that the loops share: wakes, slots, the rhythm of a loop.
import { describe, expect, test } from "vitest";
import { ApiError, UnreachableError } from "../../src/api/errors.ts";
import { monotonicMs } from "../../src/async/clock.ts";
import { clampedPoissonMs } from "../../src/async/jitter.ts";
import { Wake } from "../../src/async/wake.ts";
import { Outage } from "../../src/worker/outage.ts";
import { serviceLoop } from "../../src/worker/service-loop.ts";
import { Slots } from "../../src/worker/slots.ts";
import { recordingLogger } from "../fault/test-socket.ts";

const never = new AbortController().signal;

/** An outage that nobody has reported yet, and its messages with their levels. */
function newOutage() {
  const { log, records } = recordingLogger();
  const wakes = { polls: new Wake(), heartbeats: new Wake() };
  const levelNames: Readonly<Record<number, string>> = { 30: "info", 40: "warn" };
  const messages = (): string[] => records.map(({ level, msg }) => `${levelNames[level]}: ${msg}`);
  return { outage: new Outage("p", wakes, log), wakes, messages };
}

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
  const refused = new ApiError("GET", "/x", 401, "Unauthorized", "Renew the key.");
  const down = new UnreachableError("http://h", "ECONNREFUSED", new Error("refused"));

  /** Runs a loop over the outcomes of its turns; gives its messages, and how many s it waited between turns. */
  async function run(outcomes: (Error | "ok")[], { intervalMs = 1000, random = 0.5 } = {}) {
    const { outage, messages } = newOutage();
    const waits: number[] = [];
    const outages: boolean[] = [];
    const stop = new AbortController();
    const left = [...outcomes];
    let hasWorked = false;
    const error = await serviceLoop(
      {
        name: "polls",
        intervalMs,
        hasWorked: () => hasWorked,
        turn: async () => {
          const outcome = left.shift();
          if (left.length === 0) stop.abort();
          if (outcome instanceof Error) throw outcome;
          hasWorked = true;
        },
        wait: async (ms) => {
          waits.push(ms / 1000);
          outages.push(outage.since !== undefined);
        },
        outage,
        random: () => random,
      },
      stop.signal,
    ).catch((thrown: unknown) => thrown);
    return { messages: messages(), waits, outages, error, outage };
  }

  test("tells of an outage after three failures in a row and of its end, once each", async () => {
    const { messages, outages, error } = await run([down, down, "ok", down, down, down, down, down, "ok", "ok", "ok"]);
    expect(messages).toEqual([
      "warn: The API is away: 3 polls of work pool 'p' have failed in a row, within 0 s. lictor keeps trying, about once a minute. http://h: refused",
      "info: The API responds again, after 0 s.",
    ]);
    expect(outages.map(Number).join("")).toBe("00000111000");
    expect(error).toBeUndefined();
  });

  test("never gives up, and waits at most 60 s, or 1.3 intervals if these are longer", async () => {
    const { waits, outage } = await run(Array<Error>(2_000).fill(down), { random: 0.999999999 });
    expect(waits.slice(0, 9).map((s) => Number(s.toFixed(1)))).toEqual([1.3, 1.3, 2.6, 5.2, 10.4, 20.8, 41.6, 60, 60]);
    expect(Math.max(...waits)).toBeLessThanOrEqual(60);
    expect(outage.since).toBeUndefined();
    const slow = await run(Array<Error>(9).fill(down), { intervalMs: 300_000, random: 0.999999999 });
    expect(Math.max(...slow.waits)).toBeCloseTo(390, 0);
  });

  test.each([0, -1, 1])("pauses about 100 ms and backs off also with an interval of %i ms", async (intervalMs) => {
    const { waits } = await run(["ok", down, down, down, down, "ok", "ok"], { intervalMs });
    expect(waits.map((s) => Math.round(s * 10))).toEqual([1, 1, 1, 2, 4, 1, 1]);
  });

  test("ends for a refusal at its start, and takes the same for an outage later", async () => {
    expect((await run([down, refused, "ok"])).error).toBe(refused);
    const { error, messages } = await run(["ok", refused, refused, refused, refused, "ok", "ok"]);
    expect(error).toBeUndefined();
    expect(messages).toEqual([
      "warn: The API refuses polls of work pool 'p', although it accepted them before. lictor keeps trying, about once a minute. GET /x: 401 Unauthorized. Renew the key.",
      "info: The API responds again, after 0 s.",
    ]);
  });

  test("tells of a refusal also within an outage, but of each only once", async () => {
    const { messages } = await run(["ok", down, down, down, refused, down, refused, "ok", "ok"]);
    expect(messages.map((message) => message.slice(0, 15))).toEqual([
      "warn: The API i",
      "warn: The API r",
      "info: The API r",
    ]);
  });

  test("ends at once for an error that is none of the API", async () => {
    const bug = new TypeError("x is undefined");
    expect((await run(["ok", bug, "ok"])).error).toBe(bug);
  });
});

test("an outage is over when both loops work, and the first of them wakes the other", async () => {
  const { outage, wakes, messages } = newOutage();
  const failure = { failures: 3, since: monotonicMs() };
  outage.report("polls", new Error("no answer"), failure);
  outage.report("heartbeats", new Error("no answer"), { ...failure, since: failure.since + 1 });
  outage.end("polls");
  expect(outage.since).toBe(failure.since + 1);
  expect(await wakes.heartbeats.sleep(60_000, new AbortController().signal)).toBe("connected");
  outage.end("heartbeats");
  expect(messages()).toHaveLength(2);
  expect(messages()[1]).toBe("info: The API responds again, after 0 s.");
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
