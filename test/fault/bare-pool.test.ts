// A work pool whose base job template has not reached the server yet, because the server was busy when the worker sent it.
import { expect, test } from "vitest";
import { neverAborts } from "../../src/async/never-aborts.ts";
import { readRules } from "../../src/run/read-job.ts";
import { createRunRecord } from "../../src/run/run-record.ts";
import * as good from "../support/api-answers.ts";
import { startScriptedServer } from "../support/scripted-server.ts";
import { openWorker } from "./channel-worker.ts";

test("is read as if it had the template of the worker, so that a program is not taken for an engine", async () => {
  const always = { always: true } as const;
  const flowRun = { ...good.goodFlowRun, job_variables: { program: ["true"] } };
  const server = await startScriptedServer({
    http: {
      "GET /api/work_pools/p": [{ body: { ...good.goodWorkPool, name: "p", base_job_template: {} }, ...always }],
      [`GET /api/flow_runs/${flowRun.id}`]: [{ body: flowRun, ...always }],
      [`GET /api/deployments/${good.goodDeployment.id}`]: [{ body: good.goodDeployment, ...always }],
      [`GET /api/flows/${good.goodFlow.id}`]: [{ body: good.goodFlow, ...always }],
    },
  });
  const { worker, client } = openWorker(server.url);
  try {
    const run = createRunRecord({
      flowRun: flowRun as never,
      workPool: { ...good.goodWorkPool, name: "p" } as never,
      slot: { [Symbol.dispose]: () => undefined },
      log: worker.log,
    });
    expect(await readRules(worker, run, neverAborts)).not.toBeNull();
  } finally {
    client[Symbol.dispose]();
    await server.stop();
  }
});
