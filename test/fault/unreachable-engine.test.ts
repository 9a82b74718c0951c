// An engine that could not reach the API and gave up before it began.
import { expect, test } from "vitest";
import type { State } from "../../src/api/wire.ts";
import { monotonicMs } from "../../src/async/clock.ts";
import type { Execution } from "../../src/infrastructure/execution.ts";
import { reportInfrastructure } from "../../src/run/begin.ts";
import { engineReporter } from "../../src/run/engine-reporter.ts";
import { waitFor } from "../support/wait-for.ts";
import { openReportedRun } from "./reported-run.ts";

const submitting: State = {
  type: "PENDING",
  name: "Submitting",
  message: null,
  state_details: { transition_id: "ours" },
};
const again: State = {
  type: "SCHEDULED",
  name: "Scheduled",
  message: "Scheduled again: its process could not reach the API and did not begin.",
};

test.each<[what: string, agoMs: number, before: State[], reportsRunning: boolean, expected: string]>([
  ["during an outage is scheduled again", 0, [], true, "SCHEDULED"],
  ["after an outage is Crashed", 60_000, [], true, "CRASHED"],
  ["during an outage for the second time is Crashed", 0, [again], true, "CRASHED"],
  ["during an outage and does not report Running is Crashed", 0, [], false, "CRASHED"],
])("an engine that ends with 1 %s", async (_what, agoMs, before, reportsRunning, expected) => {
  await using reported = await openReportedRun([...before, submitting]);
  const { worker, run, proposed } = reported;
  const context = { ...worker, services: { ...worker.services, lastOutageAt: () => monotonicMs() - agoMs } };
  run.startedAt = monotonicMs() - 10_000;
  const execution = { hooks: null, reportsRunning } as Execution;
  await engineReporter(context, run, execution).ended({ kind: "exited", status: 1, reported: null });
  expect(proposed()).toEqual([expected]);
});

test("a report of the process id that waits for the server does not come after the flow run was set back", async () => {
  await using reported = await openReportedRun([submitting], [{ status: 503 }]);
  const { worker, run, changes } = reported;
  const context = { ...worker, services: { ...worker.services, lastOutageAt: monotonicMs } };
  run.startedAt = monotonicMs() - 10_000;
  run.handle = { poolType: "process", identifier: "4711", proof: {} };
  reportInfrastructure(context, run);
  await waitFor(() => changes().length === 1, { timeoutMs: 5_000, what: "the first report" });
  const execution = { hooks: null, reportsRunning: true } as Execution;
  await engineReporter(context, run, execution).ended({ kind: "exited", status: 1, reported: null });
  await worker.services.background.close(AbortSignal.timeout(5_000));
  expect(changes()).toEqual([{ infrastructure_pid: "4711" }, { infrastructure_pid: null }]);
});
