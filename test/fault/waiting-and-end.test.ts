// A program that ends while the server is being told that it waits for infrastructure.
import { expect, test } from "vitest";
import { type StopControl, StopRequested } from "../../src/host/stop-control.ts";
import { reportWaiting } from "../../src/run/report-waiting.ts";
import { watch } from "../../src/run/watch.ts";
import { waitFor } from "../support/wait-for.ts";
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

test("a worker that leaves the program running does not tell the server any more why it waits", async () => {
  const pending = { type: "PENDING", name: "Pending", message: null, state_details: { transition_id: "ours" } };
  const wait = { state: null, status: "WAIT", details: { delay_seconds: 1 } };
  await using reported = await openReportedRun([pending as never], [], wait);
  const { worker, run, proposed } = reported;
  const waiting = reportWaiting(worker, run, "no node");
  await waitFor(() => proposed().length > 0, { timeoutMs: 10_000, what: "the first proposal" });
  (worker.services.stop as StopControl).request("kill", new StopRequested("received SIGTERM", 0));
  await waiting;
  expect(proposed()).toEqual(["PENDING"]);
});
