// Flow runs that wait for infrastructure: their state says so, and why. What is not waited for any more is removed.
import { describe, expect, test } from "vitest";
import type { State } from "../../src/api/wire.ts";
import type { Execution } from "../../src/infrastructure/execution.ts";
import type { StartedProgram } from "../../src/infrastructure/pool-type.ts";
import { engineReporter } from "../../src/run/engine-reporter.ts";
import { reportWaiting } from "../../src/run/report-waiting.ts";
import { StartedPrograms } from "../../src/worker/started-programs.ts";
import * as good from "../support/api-answers.ts";
import { startScriptedServer } from "../support/scripted-server.ts";
import { openWorker, secret } from "./channel-worker.ts";
import { openReportedRun } from "./reported-run.ts";
import { untilTheEnd } from "./test-socket.ts";

const at = (second: number) => `2026-01-01T00:00:0${second}Z`;
const state = (
  type: State["type"],
  name: string,
  second: number,
  details: object = {},
  message: string | null = null,
) => ({ type, name, message, timestamp: at(second), state_details: details }) as unknown as State;

const claim = state("PENDING", "Pending", 1, { transition_id: "ours", scheduled_time: at(0) });
const waits = (message: string, transitionId = "unknown") =>
  state("PENDING", "InfrastructurePending", 3, { transition_id: transitionId, scheduled_time: at(0) }, message);
const claimOfAnother = state("PENDING", "Pending", 4, { transition_id: "theirs", scheduled_time: at(3) });

describe("a flow run that waits", () => {
  test.each<[string, State[], boolean, string[]]>([
    ["is told so", [claim], true, ["PENDING"]],
    [
      "is told a new reason, in two steps, because a name cannot follow itself",
      [claim, waits("old")],
      true,
      ["PENDING", "PENDING"],
    ],
    ["is not told the same reason again", [claim, waits("no image")], true, []],
    ["runs by now", [claim, state("RUNNING", "Running", 2)], true, []],
    ["is being cancelled", [claim, state("CANCELLING", "Cancelling", 2)], true, []],
    ["has ended", [claim, state("CANCELLED", "Cancelled", 2)], false, []],
    ["was scheduled again", [claim, state("SCHEDULED", "Scheduled", 2)], false, []],
    ["was claimed by another worker", [claim, claimOfAnother], false, []],
  ])("and %s", async (_, history, isWanted, proposed) => {
    await using reported = await openReportedRun(history);
    expect(await reportWaiting(reported.worker, reported.run, "no image")).toBe(isWanted);
    expect(reported.proposed()).toEqual(proposed);
    if (proposed.length > 0) expect(reported.messages().at(-1)).toBe("no image");
  });

  test("and has ended when its state arrives gets its end back", async () => {
    // The last one is the state that was read. A Pending without its time has replaced another state.
    const history = [state("FAILED", "Failed", 3, { transition_id: "engine" }), claim];
    const late = state("PENDING", "InfrastructurePending", 4, { transition_id: "late" });
    await using reported = await openReportedRun(history, [], { ...good.goodDecision, state: late });
    expect(await reportWaiting(reported.worker, reported.run, "no image")).toBe(false);
    expect(reported.proposed()).toEqual(["PENDING", "FAILED"]);
  });

  test("has no secrets in its reason, and knows its state afterwards", async () => {
    await using reported = await openReportedRun([claim]);
    await reportWaiting(reported.worker, reported.run, `no image ${secret}`);
    expect(reported.messages()).toEqual(["no image ********"]);
    expect(reported.run.proposals).toHaveLength(2);
  });

  test("still waits if the server fails", async () => {
    const server = await startScriptedServer({ http: {} });
    const { worker, client } = openWorker(server.url);
    await using reported = await openReportedRun([claim]);
    expect(await reportWaiting(worker, reported.run, "no image")).toBe(true);
    client[Symbol.dispose]();
    await server.stop();
  });
});

const execution = { hooks: null, reportsRunning: true } as Execution;
const output = { of: "container 'c' in pod 'p'", lines: Array.from({ length: 100 }, (_, index) => `line ${index}`) };
const failure = { kind: "exited", status: 1, reported: null, output } as const;

describe("the end of a container", () => {
  test.each<[string, State[], string[]]>([
    ["is reported", [claim], ["CRASHED"]],
    ["is reported after a reason to wait that no journal knows", [claim, waits("x")], ["CRASHED"]],
    ["is not reported if its engine scheduled the flow run again", [claim, state("SCHEDULED", "AwaitingRetry", 2)], []],
    ["is not reported if another worker has the flow run by now", [claim, claimOfAnother], []],
    ["is not reported if another worker runs it by now", [claim, claimOfAnother, state("RUNNING", "Running", 5)], []],
  ])("%s", async (_, history, proposed) => {
    await using reported = await openReportedRun(history);
    const worker = Object.assign(reported.worker, { poolType: { ...reported.worker.poolType, isLocal: false } });
    await engineReporter(worker, reported.run, execution).ended(failure);
    expect(reported.proposed()).toEqual(proposed);
  });

  test.each<[string, State[], number]>([
    ["all lines if the engine never ran", [claim], 100],
    ["a few lines if the engine ran, because it sent them itself", [claim, state("RUNNING", "Running", 2)], 50],
  ])("comes with %s", async (_, history, count) => {
    await using reported = await openReportedRun(history);
    const logged: string[] = [];
    const log = { ...reported.run.log, info: () => undefined, error: (text: string) => logged.push(text) };
    const run = Object.assign(reported.run, { log });
    await engineReporter(reported.worker, run, execution).ended(failure);
    const lines = logged.find((text) => text.startsWith("The last lines of container 'c' in pod 'p':\n"));
    expect(lines?.split("\n")).toHaveLength(count + 1);
  });
});

test("what another worker started, and nobody waits for, is removed if it has not begun", async () => {
  const always = { always: true } as const;
  const server = await startScriptedServer({
    http: {
      "POST /api/flow_runs/filter": [{ body: [], ...always }],
    },
  });
  const { worker, client } = openWorker(server.url);
  worker.pool.current = good.goodWorkPool as never;
  const program = (identifier: string, mayHaveBegun: boolean): StartedProgram => ({
    flowRunId: good.goodFlowRun.id,
    handle: { poolType: "kubernetes", identifier, proof: {} },
    instance: "there",
    workerName: "gone",
    proposals: ["ours"],
    mayHaveBegun,
  });
  const discarded: string[] = [];
  Object.assign(worker.infrastructure, {
    findStarted: async () => [program("ns:waits", false), program("ns:runs", true)],
    discard: async ({ handle }: StartedProgram) => void discarded.push(handle.identifier),
  });
  const programs = new StartedPrograms(worker);
  await programs.adopt(untilTheEnd);
  await programs.adopt(untilTheEnd);
  expect(discarded).toEqual(["ns:waits"]);
  client[Symbol.dispose]();
  await server.stop();
});
