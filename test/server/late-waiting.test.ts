// The report that a flow run waits for its infrastructure, which takes effect only after the flow run has ended.
import { expect, inject, test } from "vitest";
import type { FlowRun } from "../../src/api/wire.ts";
import { aborted } from "../../src/async/sleep.ts";
import { claim } from "../../src/run/claim.ts";
import { reportWaiting } from "../../src/run/report-waiting.ts";
import { createRunRecord } from "../../src/run/run-record.ts";
import { watch } from "../../src/run/watch.ts";
import { openWorker } from "../fault/channel-worker.ts";
import { endedExecution } from "../fault/reported-run.ts";
import * as good from "../support/api-answers.ts";
import { startReverseProxy } from "../support/reverse-proxy.ts";
import { deploy, newPool, sharedApi } from "./deployments.ts";

test("a flow run keeps its end although the server takes a report for it that nobody waits for any more", async () => {
  const api = sharedApi();
  const pool = await newPool(api);
  const { id } = await api.createFlowRun(await deploy(api, pool, "hello"));
  const isOver = new AbortController();
  await using proxy = await startReverseProxy(inject("apiUrl"), {
    onRequest: async ({ body }) => {
      if (body.includes('"InfrastructurePending"')) await aborted(isOver.signal);
      return undefined;
    },
  });
  const { worker, client } = openWorker(new URL(proxy.apiUrl).origin);
  using _client = client;
  const run = createRunRecord({
    flowRun: (await api.readFlowRun(id)) as unknown as FlowRun,
    workPool: good.goodWorkPool as never,
    slot: { [Symbol.dispose]: () => undefined },
    log: worker.log,
  });
  expect(await claim(worker, run)).toBe(true);
  expect(await reportWaiting(worker, run, "no node")).toBe(true);
  for (const type of ["RUNNING", "COMPLETED"] as const)
    expect((await api.setState(id, type, { message: "by the engine" })).status).toBe("ACCEPT");
  const watching = watch(worker, run, endedExecution("kubernetes", { kind: "exited", status: 0, reported: null }));
  setTimeout(() => isOver.abort(), 2_000);
  await watching;
  const names = (await api.readStates(id)).map(({ name }) => name);
  expect(names.filter((name) => name === "InfrastructurePending" || name === "Completed")).toHaveLength(3);
  expect((await api.readFlowRun(id)).state).toMatchObject({ type: "COMPLETED", message: "by the engine" });
});
