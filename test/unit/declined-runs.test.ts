import { expect, test } from "vitest";
import type { FlowRun } from "../../src/api/wire.ts";
import { DeclinedRuns } from "../../src/worker/declined-runs.ts";

const runs = (...ids: string[]): FlowRun[] => ids.map((id) => ({ id }) as FlowRun);
const ids = (flowRuns: readonly FlowRun[]): string[] => flowRuns.map(({ id }) => id);

test("flow runs that could not be claimed come last, until they are claimed or not returned any more", () => {
  const declined = new DeclinedRuns();
  expect(ids(declined.sortLast(runs("a", "b", "c")))).toEqual(["a", "b", "c"]);
  expect(declined.note("a", true)).toBe(true);
  expect(ids(declined.sortLast(runs("a", "b", "c")))).toEqual(["b", "c", "a"]);
  expect(declined.note("a", true)).toBe(false);
  expect(declined.note("b", false)).toBe(false);
  expect(declined.note("a", false)).toBe(true);
  expect(ids(declined.sortLast(runs("a", "c")))).toEqual(["a", "c"]);
  declined.note("a", true);
  declined.sortLast(runs("c"));
  expect(ids(declined.sortLast(runs("a", "c")))).toEqual(["a", "c"]);
});
