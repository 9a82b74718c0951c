// A program that ends while the server is being told that it waits for infrastructure.
import { expect, test } from "vitest";
import { reportWaiting } from "../../src/run/report-waiting.ts";
import { watch } from "../../src/run/watch.ts";
import { endedExecution, openReportedRun } from "./reported-run.ts";

const ended = endedExecution("kubernetes", { kind: "exited", status: 4, reported: null });

test("its end is the last state", async () => {
  const pending = { type: "PENDING", name: "Pending", message: null, state_details: { transition_id: "ours" } };
  await using reported = await openReportedRun([pending as never]);
  const { worker, run, proposed } = reported;
  const waiting = reportWaiting(worker, run, "no node");
  await watch(worker, run, ended);
  // The news of a pod may come later than its end.
  expect(await reportWaiting(worker, run, "no image")).toBe(true);
  expect(await waiting).toBe(true);
  expect(proposed()).toEqual(["PENDING", "CRASHED"]);
});
