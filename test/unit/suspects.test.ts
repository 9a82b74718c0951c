// For how long nothing was heard of a flow run, as one worker measures it.
import { expect, test } from "vitest";
import type { FlowRun } from "../../src/api/wire.ts";
import { Suspects } from "../../src/worker/sweep/suspects.ts";

const run = {
  id: "r",
  state_type: "RUNNING",
  state: { id: "s" },
  labels: { "lictor.instance": "i" },
} as unknown as FlowRun;

/** Suspects that are lost after 600 s, with `run` watched since the time 0. */
function watchRun(): Suspects {
  const suspects = new Suspects(600);
  suspects.watch(run, "sign", 0);
  return suspects;
}

test.each([
  ["looks close together", 0, [200, 400, 599, 600], ["quiet", "quiet", "quiet", "due"]],
  ["looks far apart count half each", 0, [10_000, 20_000, 30_000], ["quiet", "due", "due"]],
  ["another worker comes first", 2, [300, 600, 700], ["quiet", "quiet", "due"]],
])("%s", (_what, rank, times, verdicts) => {
  const suspects = watchRun();
  expect(times.map((at) => suspects.look(run, rank, at))).toEqual(verdicts);
});

test("an engine that waits for its next attempt is silent until then", () => {
  const state_details = { scheduled_time: "2026-01-01T00:00:01.000Z" };
  const state = { id: "s", type: "SCHEDULED", timestamp: "2026-01-01T00:00:00.000Z", state_details };
  const waiting = { ...run, state_type: "SCHEDULED", state } as FlowRun;
  const suspects = new Suspects(600);
  suspects.watch(waiting, "sign", 0);
  const verdicts = [300, 600, 900, 1200, 1500, 1599, 1600].map((at) => suspects.look(waiting, 0, at));
  expect(verdicts).toEqual([...Array(6).fill("quiet"), "due"]);
});

test.each([
  ["state", { ...run, state: { id: "t" } }],
  ["type of state, on a server without ids of states", { ...run, state_type: "CANCELLING", state: null }],
  ["program", { ...run, labels: { "lictor.instance": "j" } }],
  ["id", { ...run, id: "q" }],
])("a flow run with another %s is a new suspect", (_what, changed) => {
  expect(watchRun().look(changed as FlowRun, 0, 300)).toBe("new");
});

test("a flow run that a sweep does not find is forgotten, and so are all after a failure", () => {
  const suspects = watchRun();
  suspects.keepOnly(["r", "q"]);
  expect(suspects.look(run, 0, 300)).toBe("quiet");
  suspects.keepOnly(["q"]);
  expect(suspects.look(run, 0, 300)).toBe("new");
  suspects.watch(run, "sign", 0);
  suspects.clear();
  expect([suspects.size, suspects.look(run, 0, 300)]).toEqual([0, "new"]);
});

test("a flow run is silent while its sign of life is the same", () => {
  const suspects = watchRun();
  expect(["sign", "other"].map((sign) => suspects.isSilent("r", sign))).toEqual([true, false]);
});
