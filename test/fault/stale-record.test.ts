// A flow run whose journal record is older than its claim, because the disk was full at that moment.
import { expect, test } from "vitest";
import type { State } from "../../src/api/wire.ts";
import type { Reporting } from "../../src/run/last-reports.ts";
import { reportLost } from "../../src/run/lost-run.ts";
import * as good from "../support/api-answers.ts";
import { openReportedRun } from "./reported-run.ts";

const time = good.goodFlowRun.next_scheduled_start_time;
const later = "2026-11-23T11:00:00Z";

const pending = (name: string, transition_id: string, scheduled_time: string, second: number): State => ({
  type: "PENDING",
  name,
  timestamp: `2026-11-23T10:00:0${second}Z`,
  message: null,
  state_details: { transition_id, scheduled_time },
});

const claim = pending("Pending", "ours", time, 1);
const why = "The flow run's process was about to be started when its worker died.";

test.each<[what: string, current: State, expected: string | undefined]>([
  ["of this record, goes back to Scheduled", claim, "SCHEDULED"],
  [
    "a step that the record lacks, is Crashed, since it may have begun",
    pending("Submitting", "unknown", time, 2),
    "CRASHED",
  ],
  ["another worker's later claim, is left", pending("Pending", "another's", later, 2), undefined],
])("whose newest Pending is %s", async (_what, current, expected) => {
  await using reported = await openReportedRun(current === claim ? [claim] : [claim, current]);
  const { worker, run, proposed } = reported;
  const reporting: Reporting = { context: worker, run, runsItself: { cancellation: false, crashed: false } };
  await reportLost(reporting, { kind: "gone", why, mayHaveBegun: false });
  expect(proposed()).toEqual(expected === undefined ? [] : [expected]);
});
