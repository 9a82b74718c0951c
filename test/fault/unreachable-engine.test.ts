// An engine that could not reach the API and gave up before it began.
import { expect, test } from "vitest";
import type { State } from "../../src/api/wire.ts";
import { monotonicMs } from "../../src/async/clock.ts";
import type { Execution } from "../../src/infrastructure/pool-type.ts";
import { engineReporter } from "../../src/run/engine-reporter.ts";
import { createRunRecord } from "../../src/run/run-record.ts";
import * as good from "../support/api-answers.ts";
import { startScriptedServer } from "../support/scripted-server.ts";
import { openWorker } from "./channel-worker.ts";

const id = good.goodFlowRun.id;
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
  const always = { always: true } as const;
  const flowRun = { ...good.goodFlowRun, state_type: "PENDING", state: submitting };
  await using server = await startScriptedServer({
    http: {
      [`GET /api/flow_runs/${id}`]: [{ body: flowRun, ...always }],
      "GET /api/flow_run_states/": [{ body: [...before, submitting], ...always }],
      [`POST /api/flow_runs/${id}/set_state`]: [{ body: good.goodDecision, ...always }],
    },
  });
  const { worker, client } = openWorker(server.url);
  using _client = client;
  const context = { ...worker, services: { ...worker.services, lastOutageAt: () => monotonicMs() - agoMs } };
  const run = createRunRecord({
    flowRun: good.goodFlowRun as never,
    workPool: good.goodWorkPool as never,
    slot: { [Symbol.dispose]: () => undefined },
    log: worker.log,
  });
  run.proposals.push("ours");
  run.startedAt = monotonicMs() - 10_000;
  const execution = { hooks: null, reportsRunning } as Execution;
  await engineReporter(context, run, execution).ended({ kind: "exited", status: 1, reported: null });
  const proposed = server.requests
    .filter(({ path }) => path.endsWith("/set_state"))
    .map(({ body }) => (JSON.parse(body) as { state: State }).state.type);
  expect(proposed).toEqual([expected]);
});
