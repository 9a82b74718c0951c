// When the labels of a claimed flow run are sent: they tell other workers whose it is.
import { expect, test } from "vitest";
import type { JsonObject } from "../../src/api/wire.ts";
import type { AnswerStep } from "../support/scripted-server.ts";
import { waitFor } from "../support/wait-for.ts";
import { commandFlowRun } from "./command-flow-run.ts";
import { startPoolServer, startPoolWorker } from "./scripted-worker.ts";

/** Starts a worker whose Submitting is answered with `submitting`. */
async function start(submitting: Partial<AnswerStep>, labels: JsonObject = {}) {
  const { polls, http } = commandFlowRun("true", { labels });
  const setState = Object.keys(http).find((route) => route.endsWith("/set_state")) ?? "";
  const accepted = { status: 201, body: (http[setState]?.[0] as { body: unknown } | undefined)?.body };
  const answers: AnswerStep[] = [accepted, { ...accepted, ...submitting, always: true }];
  const server = await startPoolServer({ polls, http: { ...http, [setState]: answers } });
  const worker = await startPoolWorker(server);
  return { server, worker, find: (end: string) => server.requests.findIndex(({ path }) => path.endsWith(end)) };
}

test.concurrent("a flow run gets its labels after Submitting", async () => {
  const { server, worker, find } = await start({});
  await using _server = server;
  await using _worker = worker;
  await waitFor(() => find("/labels") >= 0, { timeoutMs: 20_000, what: "the labels" });
  const submitting = server.requests.findLastIndex(({ path }) => path.endsWith("/set_state"));
  expect(find("/labels")).toBeGreaterThan(submitting);
});

test.concurrent("a flow run with the labels of an earlier claim gets new ones at once", async () => {
  const { server, worker, find } = await start({ delayMs: 60_000 }, { "lictor.instance": "there-1-00000000" });
  await using _server = server;
  await using _worker = worker;
  await waitFor(() => find("/labels") >= 0, { timeoutMs: 20_000, what: "the labels" });
  worker.signal("SIGKILL");
});

test.concurrent("a flow run that another worker runs by then keeps that worker's labels", async () => {
  const state = { type: "RUNNING", name: "Running", message: null, state_details: {} };
  const { server, worker, find } = await start({ body: { status: "REJECT", state, details: { reason: "it runs" } } });
  await using _server = server;
  await using _worker = worker;
  await worker.waitForOutput(/another worker has it/, 20_000);
  worker.signal("SIGTERM");
  expect(await worker.exited).toEqual({ code: 0, signal: null });
  expect(find("/labels")).toBe(-1);
});
