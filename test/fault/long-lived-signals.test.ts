// Signals that live as long as the program, and calls that follow them for a moment.
import { getEventListeners } from "node:events";
import { setImmediate } from "node:timers/promises";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { expect, test } from "vitest";
import { ApiError } from "../../src/api/errors.ts";
import { Hedge } from "../../src/api/hedge.ts";
import { monotonicMs } from "../../src/async/clock.ts";
import { runTogether } from "../../src/async/run-together.ts";
import { waitAtMost, waitUnlessAborted } from "../../src/async/sleep.ts";
import { explainUnauthorized } from "../../src/sockets/refused-credentials.ts";
import { startScriptedServer } from "../support/scripted-server.ts";
import { fixedCredentials, testAgents } from "./test-client.ts";
import { socketAddress } from "./test-socket.ts";

setFlagsFromString("--expose-gc");
const collectGarbage = runInNewContext("gc") as () => void;

const failed = { outcome: { kind: "unreachable", code: "ECONNREFUSED" }, error: new Error("refused") } as const;

/** What is called, how often, and how the call is prepared. */
const calls: readonly [string, number, () => (signal: AbortSignal) => Promise<unknown>][] = [
  ["a wait with a time limit", 20_000, () => (signal) => waitAtMost(Promise.resolve(), 1_000, signal)],
  ["a wait for an event", 20_000, () => (signal) => waitUnlessAborted(Promise.resolve(), signal)],
  ["a group of loops", 20_000, () => (signal) => runTogether(signal, [async () => {}, async () => {}])],
  [
    "a poll",
    20_000,
    () => {
      const hedge = new Hedge(["poll", "poll-again"]);
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

test("the search for the cause of a 401 ends after 5 s, also if garbage is collected meanwhile", async () => {
  await using server = await startScriptedServer({
    sockets: { "/api/events/out": [{ play: () => new Promise(() => {}) }] },
  });
  const collecting = setInterval(collectGarbage, 100);
  const credentials = fixedCredentials({
    kind: "basic",
    header: "Basic dXNlcjpwYXNz",
    token: "user:pass",
    origin: "PREFECT_API_AUTH_STRING",
  });
  const error = new ApiError("GET", "/work_pools/p", 401, "Unauthorized");
  const startedAt = monotonicMs();
  const { signal } = new AbortController();
  expect(await explainUnauthorized(error, socketAddress(server.url, { credentials }), signal)).toBe(error);
  clearInterval(collecting);
  const tookMs = monotonicMs() - startedAt;
  expect(tookMs).toBeGreaterThan(4_900);
  expect(tookMs).toBeLessThan(8_000);
});
