// A flow run whose worker died before its journal record could say what the server made of its claim.
import { expect, test } from "vitest";
import type { State } from "../../src/api/wire.ts";
import type { Reporting } from "../../src/run/last-reports.ts";
import { reportLost } from "../../src/run/lost-run.ts";
import * as good from "../support/api-answers.ts";
import { openReportedRun } from "./reported-run.ts";

const time = good.goodFlowRun.next_scheduled_start_time;
const later = "2026-11-23T11:00:00Z";

const pending = (name: string, transition_id: string, scheduled_time: string | null, second: number): State => ({
  type: "PENDING",
  name,
  timestamp: `2026-11-23T10:00:0${second}Z`,
  message: null,
  state_details: { transition_id, scheduled_time },
});

const completed: State = {
  type: "COMPLETED",
  name: "Completed",
  timestamp: "2026-11-23T10:00:02Z",
  message: null,
  state_details: { transition_id: "engine's", scheduled_time: null },
};
const claim = pending("Pending", "ours", time, 1);
const why = "The flow run's process was about to be started when its worker died.";

test.each<[what: string, history: readonly State[], expected: string | undefined]>([
  ["is of this record, goes back to Scheduled", [claim], "SCHEDULED"],
  [
    "is a step that the record lacks, is Crashed, since it may have begun",
    [claim, pending("Submitting", "unknown", time, 2)],
    "CRASHED",
  ],
  ["is another worker's later claim, is left", [claim, pending("Pending", "another's", later, 2)], undefined],
  [
    "replaced the end of another execution, gets that end back",
    [pending("Pending", "another's", time, 1), completed, pending("Pending", "ours", null, 3)],
    "COMPLETED",
  ],
])("whose newest Pending %s", async (_what, history, expected) => {
  await using reported = await openReportedRun(history);
  const { worker, run, proposed } = reported;
  const reporting: Reporting = { context: worker, run, runsItself: { cancellation: false, crashed: false } };
  await reportLost(reporting, { kind: "gone", why, mayHaveBegun: false });
  expect(proposed()).toEqual(expected === undefined ? [] : [expected]);
});

test("that has the process id of an execution whose end was replaced gets that end back", async () => {
  await using reported = await openReportedRun([claim, completed, pending("Pending", "ours", null, 3)]);
  const { worker, run, proposed } = reported;
  const reporting: Reporting = { context: worker, run, runsItself: { cancellation: false, crashed: false } };
  await reportLost(reporting, { kind: "gone", why, mayHaveBegun: true });
  expect(proposed()).toEqual(["COMPLETED"]);
});

test("that has a process id and goes back to Scheduled loses the id, so that a user can cancel it", async () => {
  await using reported = await openReportedRun([claim]);
  const { worker, run, changes } = reported;
  run.handle = { poolType: "process", identifier: "17", proof: {} };
  const reporting: Reporting = { context: worker, run, runsItself: { cancellation: false, crashed: false } };
  await reportLost(reporting, { kind: "gone", why, mayHaveBegun: false });
  expect(changes()).toEqual([{ infrastructure_pid: null }]);
});
