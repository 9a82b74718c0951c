// The exit status in the event about the end of a flow run's program.
import { expect, test } from "vitest";
import type { FlowRun, PrefectEvent, WorkPool } from "../../src/api/wire.ts";
import type { Ending } from "../../src/infrastructure/execution.ts";
import { createRunRecord } from "../../src/run/run-record.ts";
import { watch } from "../../src/run/watch.ts";
import { WorkerEvents } from "../../src/run/worker-events.ts";
import { goodFlowRun, goodWorkPool } from "../support/api-answers.ts";
import { startScriptedServer } from "../support/scripted-server.ts";
import { openWorker } from "./channel-worker.ts";

const completed = { type: "COMPLETED", name: "Completed" } as const;
const cases: [how: string, ending: Ending, status: string][] = [
  ["reported its end and exits with 1 is 0", { kind: "exited", status: 1, reported: { state: completed } }, "0"],
  ["reported an unknown end and exits with 1 is 0", { kind: "exited", status: 1, reported: { state: null } }, "0"],
  ["did not report its end and exits with 1 is 1", { kind: "exited", status: 1, reported: null }, "1"],
  ["was killed is that of the signal", { kind: "exited", status: -9, reported: null }, "-9"],
  ["is gone is -1", { kind: "gone", why: "The machine is gone.", mayHaveBegun: true }, "-1"],
];

test.each(cases)("of an engine that %s", async (_how, ending, status) => {
  const ended = { ...goodFlowRun, state_type: "COMPLETED", state: { ...goodFlowRun.state, ...completed } };
  await using server = await startScriptedServer({
    http: { [`GET /api/flow_runs/${goodFlowRun.id}`]: [{ body: ended, always: true }] },
  });
  const { worker, client } = openWorker(server.url);
  using _client = client;
  const events: PrefectEvent[] = [];
  const emitted = new WorkerEvents({ name: "w", slug: "w", type: "process" }, (event) => events.push(event));
  const run = createRunRecord({
    flowRun: goodFlowRun as FlowRun,
    workPool: goodWorkPool as WorkPool,
    slot: { [Symbol.dispose]: () => undefined },
    log: worker.log,
  });
  await watch({ ...worker, events: emitted }, run, {
    handle: { poolType: "process", identifier: "17", proof: {} },
    started: Promise.resolve(),
    ended: Promise.resolve(ending),
    hooks: null,
    reportsRunning: true,
    sendsHeartbeats: true,
    stop: async () => "stopped",
    endLeftovers: async () => undefined,
    [Symbol.asyncDispose]: async () => undefined,
  });
  expect(events).toMatchObject([
    {
      event: "prefect.worker.executed-flow-run",
      related: expect.arrayContaining([
        expect.objectContaining({
          "prefect.infrastructure.identifier": "17",
          "prefect.infrastructure.status-code": status,
        }),
      ]),
    },
  ]);
});
