// The replaceable clock: all waits follow it while it is replaced.
import { expect, test } from "vitest";
import {
  longestTimerMs,
  monotonicMs,
  replaceClock,
  startTimer,
  timeoutSignal,
  wallClockMs,
} from "../../src/async/clock.ts";
import { sleep } from "../../src/async/sleep.ts";
import { Wake } from "../../src/async/wake.ts";

test("sleeps, wakes and time limits follow a replaced clock, until it is disposed of", async () => {
  const neverAborts = new AbortController().signal;
  const started: { ms: number; callback: () => void }[] = [];
  const start = (ms: number, callback: () => void): (() => void) => {
    started.push({ ms, callback });
    return () => undefined;
  };
  {
    using _replaced = replaceClock({
      monotonicMs: () => 5,
      wallClockMs: () => 7,
      startTimer: start,
      timeoutSignal(ms) {
        const over = new AbortController();
        start(ms, () => over.abort());
        return over.signal;
      },
    });
    expect([monotonicMs(), wallClockMs()]).toEqual([5, 7]);
    const slept = sleep(1_000_000, neverAborts);
    const woken = new Wake().sleep(2_000_000, neverAborts);
    const limit = timeoutSignal(3_000_000);
    expect(started.map(({ ms }) => ms)).toEqual([1_000_000, 2_000_000, 3_000_000]);
    for (const { callback } of started) callback();
    await slept;
    expect(await woken).toBe("timeout");
    expect(limit.aborted).toBe(true);
  }
  expect(wallClockMs()).toBeGreaterThan(7);
});

test("a timer may be late from the start, or longer than those of Node.js, without a warning", async () => {
  const warnings: Error[] = [];
  const onWarning = (warning: Error): void => void warnings.push(warning);
  process.on("warning", onWarning);
  let isEarly = false;
  const cancel = startTimer(longestTimerMs + 10, () => {
    isEarly = true;
  });
  await new Promise<void>((resolve) => startTimer(-5, resolve));
  await new Promise<void>((resolve) => startTimer(20, resolve));
  cancel();
  process.off("warning", onWarning);
  expect({ isEarly, warnings }).toEqual({ isEarly: false, warnings: [] });
});
