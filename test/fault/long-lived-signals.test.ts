// Signals that live as long as the program, and calls that follow them for a moment.
import { getEventListeners } from "node:events";
import { setImmediate } from "node:timers/promises";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { expect, test } from "vitest";
import { Hedge } from "../../src/api/hedge.ts";
import { runTogether } from "../../src/async/run-together.ts";
import { waitAtMost } from "../../src/async/sleep.ts";
import { testAgents } from "./test-client.ts";

setFlagsFromString("--expose-gc");
const collectGarbage = runInNewContext("gc") as () => void;

const failed = { attempt: { kind: "unreachable", code: "ECONNREFUSED" }, error: new Error("refused") } as const;

/** What is called, how often, and how the call is prepared. */
const calls: readonly [string, number, () => (signal: AbortSignal) => Promise<unknown>][] = [
  ["a wait with a time limit", 20_000, () => (signal) => waitAtMost(Promise.resolve(), 1_000, signal)],
  ["a group of loops", 20_000, () => (signal) => runTogether(signal, [async () => {}, async () => {}])],
  [
    "a poll",
    20_000,
    () => {
      const hedge = new Hedge();
      const agents = testAgents();
      return (signal) => hedge.attempt(async () => failed, { agents, signal, limitMs: 10_000 });
    },
  ],
];

async function repeat(count: number, call: () => Promise<unknown>): Promise<void> {
  for (let done = 0; done < count; done++) await call();
}

/** The bytes in use. A WeakRef keeps its target until the event loop turns. */
async function usedBytes(): Promise<number> {
  await setImmediate();
  collectGarbage();
  return process.memoryUsage().heapUsed;
}

test.each(calls)("%s leaves nothing behind on the signal that it followed", async (_name, count, prepare) => {
  const { signal } = new AbortController();
  const call = prepare();
  await repeat(count / 10, () => call(signal));
  const before = await usedBytes();
  await repeat(count, () => call(signal));
  const bytesPerCall = ((await usedBytes()) - before) / count;
  expect(bytesPerCall).toBeLessThan(20);
  expect(getEventListeners(signal, "abort")).toEqual([]);
});
