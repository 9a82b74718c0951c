// A flow run that needs no Python, and how the tests of this folder have it run.
import { expect } from "vitest";
import { deploy, newPool, sharedApi } from "../server/deployments.ts";
import type { RunningProgram } from "../support/lictor.ts";
import type { PrefectApi } from "../support/prefect-api.ts";

/** A work pool with a deployment whose flow runs are one short command. */
export interface PreparedPool {
  api: PrefectApi;
  pool: string;
  deployment: string;
}

/** Makes both, past any proxy or gateway. */
export async function preparePool(): Promise<PreparedPool> {
  const api = sharedApi();
  const pool = await newPool(api);
  const command = `${process.execPath} -p "'ran '+process.env.PREFECT__FLOW_RUN_ID"`;
  return { api, pool, deployment: await deploy(api, pool, "hello", { jobVariables: { command } }) };
}

/** The settings of a worker for `runsByEvent`. */
export const rarePolls = { PREFECT_WORKER_QUERY_SECONDS: "60", PREFECT_LOGGING_LEVEL: "DEBUG" };

/** Creates flow runs, each of which the worker has to run, until the events socket has told it of one. */
export async function runsByEvent({ api, deployment }: PreparedPool, worker: RunningProgram): Promise<void> {
  let isTold = false;
  // The server may miss the first one while it sets up the subscription.
  for (let attempt = 1; attempt <= 3 && !isTold; attempt++) {
    const { id } = await api.createFlowRun(deployment);
    await worker.waitForOutput(new RegExp(`ran ${id}`), 20_000);
    isTold = await worker.waitForOutput(new RegExp(`"flow_run_id":"${id}".*"msg":"event"`), 5_000).then(
      () => true,
      () => false,
    );
  }
  expect(isTold).toBe(true);
}

/** The lines of a text. */
export function lines(text: string): string[] {
  return text.trim().split("\n");
}
