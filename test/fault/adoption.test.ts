// A worker that continues the flow runs of a dead one, with infrastructure that cannot, or that does not have the program.
import { expect, test } from "vitest";
import { type Clock, replaceClock } from "../../src/async/clock.ts";
import type { Infrastructure } from "../../src/infrastructure/pool-type.ts";
import { resume } from "../../src/run/live.ts";
import { waitFor } from "../support/wait-for.ts";
import { endedExecution, openReportedRun } from "./reported-run.ts";
import { recordingLogger } from "./test-socket.ts";

/** A clock whose timers are a hundred times as fast. */
const fast: Clock = {
  monotonicMs: () => performance.now(),
  wallClockMs: () => performance.timeOrigin + performance.now(),
  startTimer(ms, callback) {
    const timer = setTimeout(callback, ms / 100);
    return () => clearTimeout(timer);
  },
  timeoutSignal: (ms) => AbortSignal.timeout(ms),
};

const ended = endedExecution("process", { kind: "exited", status: 0, reported: null });
const running = { type: "RUNNING", name: "Running", message: null } as const;

async function resumeWith(adopt: Infrastructure["adopt"]) {
  await using reported = await openReportedRun([running]);
  const { log, records } = recordingLogger();
  const { worker, proposed } = reported;
  const context = { ...worker, infrastructure: { ...worker.infrastructure, adopt } };
  const run = { ...reported.run, log, rules: null };
  await resume(context, run);
  return { proposed: proposed(), lines: records.filter(({ level }) => level > 20).map(({ msg }) => msg) };
}

test("an adoption that has to wait is logged once, and once when it succeeds", async () => {
  using _clock = replaceClock(fast);
  let failures = 3;
  const { lines } = await resumeWith(async () => {
    if (failures-- > 0) throw new Error("no file handle left");
    return ended;
  });
  expect(lines).toEqual([
    expect.stringMatching(/^Flow run '.*' cannot be continued yet$/),
    expect.stringMatching(/^Flow run '.*' is continued now$/),
  ]);
});

test("the flow run of a program of other infrastructure is not reported", async () => {
  expect(await resumeWith(async () => null)).toEqual({ proposed: [], lines: [] });
});

test.each([
  ["is not told to the server if it never began", false, []],
  ["is told to the server if it may have begun", true, ["1"]],
])("the id of a program that is gone %s", async (_, mayHaveBegun, expected) => {
  const state_details = { transition_id: "ours", scheduled_time: null };
  await using reported = await openReportedRun([{ type: "PENDING", name: "Pending", message: null, state_details }]);
  const { worker, changes, proposed } = reported;
  const adopt = async () => endedExecution("docker", { kind: "gone", why: "It is gone.", mayHaveBegun });
  const context = { ...worker, infrastructure: { ...worker.infrastructure, adopt } };
  const ids = () =>
    (changes() as { infrastructure_pid?: string | null }[]).flatMap((each) => each.infrastructure_pid ?? []);
  await resume(context, { ...reported.run, rules: null });
  expect(proposed()).toEqual([mayHaveBegun ? "CRASHED" : "SCHEDULED"]);
  await waitFor(() => ids().length >= expected.length, { timeoutMs: 10_000, what: "the id" });
  expect(ids()).toEqual(expected);
});
