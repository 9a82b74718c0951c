// The timeline of a chaos run.
import { setTimeout as delay } from "node:timers/promises";
import { expect, test } from "vitest";
import { followTimeline } from "../chaos/timeline.ts";

const never = new AbortController().signal;

test("items begin in the order of their times, and all are awaited", async () => {
  const seen: string[] = [];
  const item = (atMs: number) => ({
    atMs,
    lane: null,
    begin: async () => {
      seen.push(`${atMs} begins`);
      await delay(30);
      seen.push(`${atMs} ends`);
    },
  });
  expect(await followTimeline([item(20), item(0)], 10_000, never)).toBe(0);
  expect(seen).toEqual(["0 begins", "20 begins", "0 ends", "20 ends"]);
});

test("a lane has three items at once, and what comes after them waits too", async () => {
  let [now, most] = [0, 0];
  const seen: string[] = [];
  const inLane = (name: string) => ({
    atMs: 0,
    lane: "lane",
    begin: async () => {
      most = Math.max(most, ++now);
      await delay(10);
      now--;
      seen.push(name);
    },
  });
  const other = { atMs: 1, lane: null, begin: async () => void seen.push("other") };
  await followTimeline([...[..."abcde"].map(inLane), other], 10_000, never);
  expect(most).toBe(3);
  expect(seen.indexOf("other")).toBeGreaterThan(seen.indexOf("b"));
});

test("items that come too late, or after the stop, are left out", async () => {
  const item = { atMs: 0, lane: null, begin: () => Promise.resolve() };
  expect(await followTimeline([item, { ...item, atMs: 50 }], 20, never)).toBe(1);
  expect(await followTimeline([item, item], 1_000, AbortSignal.abort())).toBe(2);
});

test("the first failure is thrown when everything is over", async () => {
  let isOver = false;
  const failing = { atMs: 0, lane: null, begin: () => Promise.reject(new Error("no")) };
  const slow = {
    atMs: 0,
    lane: null,
    begin: async () => {
      await delay(30);
      isOver = true;
    },
  };
  await expect(followTimeline([slow, failing], 1_000, never)).rejects.toThrow("no");
  expect(isOver).toBe(true);
});
