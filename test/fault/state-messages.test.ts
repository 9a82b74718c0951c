// Secrets in the texts of others, such as the engine of containers, must not reach the server in a state message.
import { expect, test } from "vitest";
import type { Execution } from "../../src/infrastructure/execution.ts";
import { giveBack } from "../../src/run/claim.ts";
import { engineReporter } from "../../src/run/engine-reporter.ts";
import { report } from "../../src/run/report.ts";
import { crashedState } from "../../src/run/states.ts";
import { secret } from "./channel-worker.ts";
import { openReportedRun } from "./reported-run.ts";

const running = { type: "RUNNING", name: "Running", message: null } as const;

test("state messages have no secrets", async () => {
  await using reported = await openReportedRun([running]);
  const { worker, run, messages } = reported;
  await report(worker, run, crashedState(`Failed to submit flow run: no login with ${secret}.`));
  await giveBack(worker, run, `could not start its process. ${secret}`);
  const execution = { hooks: null, reportsRunning: false } as Execution;
  const ending = { kind: "exited", status: 1, reported: null, why: `The engine says: ${secret}.` } as const;
  await engineReporter(worker, run, execution).ended(ending);
  expect(messages()).toEqual([
    "Failed to submit flow run: no login with ********.",
    "Not started: worker 'w' could not start its process. ********.",
    expect.stringMatching(/The engine says: \*{8}\.$/),
  ]);
});
