// A worker that is told to end while its server is silent.
import { expect, test } from "vitest";
import type { JsonObject } from "../../src/api/wire.ts";
import { goodDeployment, goodFlow, goodFlowRun } from "../support/api-answers.ts";
import { waitFor } from "../support/wait-for.ts";
import { startPoolServer, startPoolWorker } from "./scripted-worker.ts";

const id = "00000000-0000-4000-8000-00000000000a";
const scheduledTime = "2020-01-01T00:00:00Z";
const flowRun = { ...(goodFlowRun as JsonObject), id, next_scheduled_start_time: scheduledTime };
const polls = [{ body: [{ work_pool_id: "", work_queue_id: "", flow_run: flowRun }], always: true as const }];
const setState = `POST /api/flow_runs/${id}/set_state`;
const details = { flow_run_id: id, scheduled_time: scheduledTime };
const pending = { type: "PENDING", name: "Pending", message: null, state_details: details };
/** The deployment's command needs no Python. */
const related = {
  [`GET /api/deployments/${goodDeployment.id}`]: [{ body: goodDeployment, always: true as const }],
  [`GET /api/flows/${goodFlow.id}`]: [{ body: goodFlow, always: true as const }],
};
const accepted = { status: 201, body: { status: "ACCEPT", state: pending, details: {} } };

/** Sends two signals, which are two wishes because they differ; returns how long the worker took to end after both. */
async function tellTwice(worker: Awaited<ReturnType<typeof startPoolWorker>>): Promise<number> {
  worker.signal("SIGTERM");
  await worker.waitForOutput(/Taking no new flow runs/, 20_000);
  worker.signal("SIGINT");
  const toldAt = performance.now();
  await worker.exited;
  return performance.now() - toldAt;
}

test("twice while it claims gives the claim up and ends", async () => {
  await using server = await startPoolServer({
    polls,
    http: { ...related, [setState]: [{ hang: true, always: true }] },
  });
  await using worker = await startPoolWorker(server);
  await waitFor(() => server.requests.some(({ path }) => path.endsWith("/set_state")), {
    timeoutMs: 20_000,
    what: "the claim",
  });
  expect(await tellTwice(worker)).toBeLessThan(20_000);
  expect(await worker.exited).toEqual({ code: 0, signal: null });
});

test("twice while it has something to report waits for a bounded time and says whose end is not told", async () => {
  const hangs = { hang: true, always: true } as const;
  const http = { ...related, [setState]: [accepted, hangs] };
  await using server = await startPoolServer({ polls, http });
  await using worker = await startPoolWorker(server);
  await waitFor(() => server.requests.filter(({ path }) => path.endsWith("/set_state")).length > 1, {
    timeoutMs: 20_000,
    what: "a second proposal",
  });
  expect(await tellTwice(worker)).toBeGreaterThan(50_000);
  expect(await worker.exited).toEqual({ code: 1, signal: null });
  expect(worker.stderr).toContain("could not be told within 60 s how these flow runs ended");
}, 120_000);
