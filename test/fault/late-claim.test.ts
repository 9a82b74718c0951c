// A claim of a dead worker that takes effect while the worker after it looks at the flow run.
import { expect, test } from "vitest";
import type { State } from "../../src/api/wire.ts";
import { settleLateClaim } from "../../src/run/claim.ts";
import { reportLost } from "../../src/run/lost-run.ts";
import { inheritLateClaim } from "../../src/worker/take-over.ts";
import * as good from "../support/api-answers.ts";
import { openReportedRun } from "./reported-run.ts";

const pending = (transition_id: string, second: number): State => ({
  type: "PENDING",
  name: "Pending",
  timestamp: `2026-11-23T10:00:0${second}Z`,
  message: null,
  state_details: { transition_id, scheduled_time: good.goodFlowRun.next_scheduled_start_time },
});

const cancelling: State = {
  type: "CANCELLING",
  name: "Cancelling",
  timestamp: "2026-11-23T10:00:05Z",
  message: null,
  state_details: { transition_id: null, scheduled_time: null },
};

test.each<[what: string, history: readonly State[], expected: readonly string[]]>([
  ["is given back", [pending("ours", 1)], ["SCHEDULED"]],
  ["is Cancelled if a user cancelled it just then", [pending("ours", 1), cancelling], ["CANCELLED"]],
  ["is left to another worker that claimed it", [pending("another's", 1)], []],
  ["is left to another worker that claimed it later", [pending("ours", 1), pending("another's", 3), cancelling], []],
])("the flow run %s", async (_what, history, expected) => {
  await using reported = await openReportedRun(history);
  const { worker, run, proposed } = reported;
  const over = AbortSignal.timeout(10_000);
  await settleLateClaim(worker, run, "took it over", { over, pauseMs: 10 });
  expect(proposed()).toEqual(expected);
  expect(run.isClaimUnknown).toBe(false);
});

test("a flow run is looked at once more after the time limit", async () => {
  await using reported = await openReportedRun([pending("ours", 1)]);
  const { worker, run, proposed } = reported;
  const signal = AbortSignal.timeout(10_000);
  await settleLateClaim(worker, run, "took it over", { over: AbortSignal.abort(), signal, pauseMs: 10 });
  expect(proposed()).toEqual(["SCHEDULED"]);
});

test("if the worker that looks at it dies after a claim of its own, the next one recognises both claims", async () => {
  await using reported = await openReportedRun([pending("theirs", 1)]);
  const { worker, run, proposed } = reported;
  worker.lateClaims.set(run.flowRun.id, { ...run, proposals: ["theirs"] });
  inheritLateClaim(worker, run);
  const runsItself = { cancellation: false, crashed: false };
  await reportLost({ context: worker, run, runsItself }, { kind: "gone", why: "It is gone.", mayHaveBegun: false });
  expect(proposed()).toEqual(["SCHEDULED"]);
});
