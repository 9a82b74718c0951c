import { expect, test } from "vitest";
import { lastSignOfLife } from "../../src/cli/listen.ts";
import type { StatusSources } from "../../src/worker/status.ts";

const longAgo = performance.now() - 3_600_000;
const justNow = performance.now() - 1_000;
const going = new AbortController().signal;

/** When such a worker gave its last sign of life. */
function at(changes: Partial<{ polled: number; maintenance: number; stop: AbortSignal }>): number {
  const { polled = longAgo, maintenance, stop = going } = changes;
  const sources = {
    startedAt: longAgo,
    worker: { lastPollAt: polled },
    api: { maintenanceAt: () => maintenance },
    stop,
  };
  return lastSignOfLife(sources as unknown as StatusSources);
}

test("a worker is alive that polls, waits for the API's maintenance to be over, or stops", () => {
  expect(at({})).toBe(longAgo);
  expect(at({ polled: justNow })).toBe(justNow);
  expect(at({ maintenance: justNow })).toBe(justNow);
  expect(at({ stop: AbortSignal.abort() })).toBeGreaterThanOrEqual(justNow);
});
