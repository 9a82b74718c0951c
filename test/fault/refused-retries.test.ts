// A server that does not take the retries of a job, as it does with fractions of a second.
import { expect, test } from "vitest";
import { applyRules } from "../../src/run/begin.ts";
import { watch } from "../../src/run/watch.ts";
import { endedExecution, openReportedRun } from "./reported-run.ts";

test("the flow run has all its states, and no retries", async () => {
  const pending = { type: "PENDING", name: "Submitting", message: null, state_details: { transition_id: "ours" } };
  const refusal = { status: 422, body: { exception_message: "Invalid request received." } };
  await using reported = await openReportedRun([pending as never], [refusal]);
  const { worker, run, proposed, changes } = reported;
  applyRules(worker, run, { timeoutSeconds: null, retries: 1, retryDelaySeconds: 0.5 });
  await watch(worker, run, endedExecution("process", { kind: "exited", status: 4, reported: null }));
  expect(changes()[0]).toMatchObject({ empirical_policy: { retries: 1, retry_delay: 0.5 } });
  expect(proposed()).toEqual(["RUNNING", "FAILED"]);
});
