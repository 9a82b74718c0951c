// Flows and tasks without a worker: they are functions that keep their rules.
import { setTimeout as pause } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { context, flow, task } from "../../src/flows/index.ts";

describe("a task", () => {
  test("returns what its function returns, or throws what it throws", async () => {
    expect(await task("double", (n: number) => n * 2)(21)).toBe(42);
    await expect(task("fail", () => Promise.reject(new RangeError("no")))()).rejects.toThrow(new RangeError("no"));
  });

  test("is repeated as often as it may be, with pauses that may depend on the attempt", async () => {
    const attempts: number[] = [];
    const delays: number[] = [];
    const options = {
      name: "unsteady",
      retries: 3,
      retryDelaySeconds: (attempt: number) => {
        delays.push(attempt);
        return 0.001;
      },
    };
    const run = task(options, () => {
      attempts.push(context().attempt);
      throw new Error("again");
    });
    await expect(run()).rejects.toThrow("again");
    expect(attempts).toEqual([1, 2, 3, 4]);
    expect(delays).toEqual([1, 2, 3]);
  });

  test("is ended after its time, also if it does not look at its signal", async () => {
    const signals: AbortSignal[] = [];
    const run = task({ name: "slow", timeoutSeconds: 0.05, retries: 1, retryDelaySeconds: [0] }, async () => {
      signals.push(context().signal);
      await pause(10_000, undefined, { ref: false });
    });
    await expect(run()).rejects.toThrow("Task run exceeded timeout of 0.05 second(s)");
    expect(signals.map(({ aborted }) => aborted)).toEqual([true, true]);
  });

  test("runs no more often at once than it may, in the order of the calls", async () => {
    let running = 0;
    let most = 0;
    const order: number[] = [];
    const run = task({ name: "limited", concurrency: 3 }, async (index: number) => {
      order.push(index);
      most = Math.max(most, ++running);
      await pause(1);
      running--;
    });
    await Promise.all(Array.from({ length: 20 }, (_, index) => run(index)));
    expect(most).toBe(3);
    expect(order).toEqual([...order].sort((one, other) => one - other));
  });
});

describe("a flow", () => {
  const greet = flow(
    {
      name: "greet",
      parameters: {
        who: { type: "string" },
        times: { type: "integer", default: 1 },
        loud: { type: "string", enum: ["yes", "no"], default: "no" },
      },
    },
    ({ who, times, loud }) => `${who} ${times} ${loud}`,
  );

  test("is a function of its parameters, with their defaults", async () => {
    expect(await greet({ who: "you" })).toBe("you 1 no");
    expect(await greet({ who: "you", times: 2, loud: "yes" })).toBe("you 2 yes");
    expect(greet.flowName).toBe("greet");
  });

  test.each<[given: Record<string, unknown>, message: string]>([
    [{}, "The parameter 'who' is missing."],
    [{ who: 1 }, "The parameter 'who' must be of type string."],
    [{ who: "a", times: 1.5 }, "The parameter 'times' must be of type integer."],
    [{ who: "a", loud: "maybe" }, `The parameter 'loud' must be one of ["yes","no"].`],
    [{ who: "a", toString: 1 }, "The flow has no parameter 'toString'."],
  ])("refuses the parameters %j", async (given, message) => {
    await expect(greet(given as never)).rejects.toThrow(message);
  });

  test("aborts the signal of its tasks after its time", async () => {
    const wait = task("wait", async () => await pause(10_000, undefined, { signal: context().signal }));
    const slow = flow({ name: "slow", timeoutSeconds: 0.05 }, async () => await wait());
    await expect(slow()).rejects.toThrow("Flow run exceeded timeout of 0.05 second(s)");
  });

  test("has a name of its own in its module", async () => {
    expect(() => flow({ name: "greet" }, () => undefined)).toThrow("Two flows have the name 'greet'.");
    expect(() => flow({} as { name: string }, () => undefined)).toThrow("A flow needs a name");
    const short = flow("short", () => 7);
    expect(await short()).toBe(7);
    expect(short.flowName).toBe("short");
  });
});

describe("options that cannot be used", () => {
  test.each<[options: object, message: string]>([
    [{}, 'A task needs a name: task({ name: "report" }, function).'],
    [{ name: "t", retries: -1 }, "The task 't' has retries -1. Write a whole number from 0 on."],
    [{ name: "t", retries: "2" }, `The task 't' has retries "2". Write a whole number from 0 on.`],
    [{ name: "t", timeoutSeconds: 0 }, "The task 't' has timeoutSeconds 0. Write a number of seconds above 0."],
    [{ name: "t", timeoutSeconds: Number.NaN }, "The task 't' has timeoutSeconds NaN."],
    [{ name: "t", concurrency: 0 }, "The task 't' has concurrency 0. Write a whole number from 1 on."],
    [
      { name: "t", retryDelaySeconds: [1, -1] },
      "The task 't' has retryDelaySeconds [1,-1]. Write a number of seconds,",
    ],
    [{ name: "t", tags: "etl" }, `The task 't' has tags "etl". Write a list of texts.`],
  ])("of a task are refused: %j", (options, message) => {
    expect(() => task(options as never, () => 1)).toThrow(message);
  });

  test.each<[options: object, message: string]>([
    [{ retries: 1.5 }, "The flow 'f' has retries 1.5."],
    [{ retryDelaySeconds: [1] }, "The flow 'f' has retryDelaySeconds [1]. Write a number of seconds."],
    [{ timeoutSeconds: -1 }, "The flow 'f' has timeoutSeconds -1."],
    [{ parameters: { n: { type: "int" } } }, "The parameter 'n' has the unknown type 'int'. Write string, integer,"],
    [{ parameters: { n: { type: "integer", default: "1" } } }, "The parameter 'n' must be of type integer."],
  ])("of a flow are refused: %j", (options, message) => {
    expect(() => flow({ name: "f", ...options } as never, () => 1)).toThrow(message);
  });

  test("include a function that is missing", () => {
    expect(() => task("t", undefined as never)).toThrow("The task 't' has no function.");
    expect(() => flow("f", undefined as never)).toThrow("The flow 'f' has no function.");
  });

  test("do not include those that are allowed", () => {
    task({ name: "t", concurrency: Number.POSITIVE_INFINITY, retries: 0, retryDelaySeconds: () => 1 }, () => 1);
    task({ name: "t", timeoutSeconds: 0.1, retryDelaySeconds: [0, 1], tags: [] }, () => 1);
  });
});

// The types are the test: `npm run check` fails if a line does not have the error that is expected.
export function typesOfFlows(): void {
  const typed = flow(
    {
      name: "typed",
      parameters: {
        day: { type: "string" },
        limit: { type: "integer", default: 3 },
        level: { type: "string", enum: ["a", "b"] },
        list: { type: "array", default: [] },
        options: { type: "object", default: {} },
      },
    },
    ({ day, limit, level, list, options }, { signal }) => {
      const values: [string, number, "a" | "b", readonly unknown[], Readonly<Record<string, unknown>>, AbortSignal] = [
        day,
        limit,
        level,
        list,
        options,
        signal,
      ];
      // @ts-expect-error A text is no number.
      const wrong: number = day;
      return { values, wrong, length: day.length };
    },
  );
  const result: Promise<{ length: number }> = typed({ day: "today", level: "a" });
  // @ts-expect-error The parameter `level` is missing.
  const missing = typed({ day: "today" });
  // @ts-expect-error No such value.
  const other = typed({ day: "today", level: "c" });
  // @ts-expect-error No such parameter.
  const unknown = typed({ day: "today", level: "a", more: 1 });
  // @ts-expect-error A default has the type of its parameter.
  const bad = flow({ name: "bad", parameters: { n: { type: "integer", default: "1" } } }, () => undefined);
  const join = task({ name: "join", retries: 1 }, async (one: string, other?: number) => `${one}${other}`);
  const joined: Promise<string> = join("a", 1);
  // @ts-expect-error The first argument is a text.
  const wrongCall = join(1);
  const none = flow({ name: "none" }, () => 1);
  const called: Promise<number> = none();
  void [result, missing, other, unknown, bad, joined, wrongCall, called];
}
