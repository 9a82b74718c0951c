// What the watch for cancellations does while nobody answers it, and when it is answered again.
import { describe, expect, test } from "vitest";
import type { StopReason } from "../../src/run/run-record.ts";
import { watchCancellations } from "../../src/worker/cancellation/cancel-watch.ts";
import { goodFlowRun } from "../support/api-answers.ts";
import { type AnswerStep, startScriptedServer } from "../support/scripted-server.ts";
import { waitFor } from "../support/wait-for.ts";
import { openWorker, takeFlowRun } from "./channel-worker.ts";

const id = "00000000-0000-4000-8000-00000000000a";
const soon = { timeoutMs: 5_000, intervalMs: 5 };
const broken: AnswerStep = { status: 500, body: { detail: "broken" } };
const none: AnswerStep = { body: [], always: true };

/** Watches one flow run in flight, every 20 ms, of a server that gives these answers. */
async function watch(answers: AnswerStep[], { crashOnFailure = false, connected = false } = {}) {
  const server = await startScriptedServer({ http: { "POST /api/flow_runs/filter": answers } });
  const { worker, records, client } = openWorker(server.url, { cancellation: { crashOnFailure } });
  worker.sockets.eventsConnected = connected;
  const requests: StopReason[] = [];
  const over = new AbortController();
  const execute = async (end: AbortSignal): Promise<void> => {
    end.addEventListener("abort", () => requests.push(end.reason));
    await new Promise<void>((resolve) => over.signal.addEventListener("abort", () => resolve()));
  };
  takeFlowRun(worker, id, execute);
  const watching = watchCancellations(worker, over.signal, 20);
  const said = (level: number): string[] => records.filter((each) => each.level === level).map(({ msg }) => msg);
  return {
    server,
    requests,
    said,
    async [Symbol.asyncDispose]() {
      over.abort();
      await watching;
      client[Symbol.dispose]();
      await server[Symbol.asyncDispose]();
    },
  };
}

describe("three failures in a row without events", () => {
  const eight = Array.from({ length: 8 }, () => broken);
  const polling = /^Cancellation polling task failed\./;

  test("are one error, and one word when it is over", async () => {
    await using run = await watch([...eight, none]);
    await waitFor(() => run.said(30).length > 0, { ...soon, what: "the end of the outage" });
    expect(run.said(50)).toEqual([expect.stringMatching(polling)]);
    expect(run.said(30)).toEqual(["Cancelled flow runs are found again."]);
    expect(run.requests).toEqual([]);
  });

  test("end all flow runs where PREFECT_RUNNER_CRASH_ON_CANCELLATION_FAILURE is set", async () => {
    await using run = await watch([{ ...broken, always: true }], { crashOnFailure: true });
    await waitFor(() => run.requests.length > 0, { ...soon, what: "the end of the flow run" });
    expect(run.requests).toEqual([{ kind: "kill", by: "could not watch for cancellations" }]);
    expect(run.said(50)).toEqual([expect.stringMatching(polling)]);
  });

  test("are no news while events tell of cancellations, and the look is repeated until it succeeds", async () => {
    await using run = await watch([...eight, none], { connected: true, crashOnFailure: true });
    await waitFor(() => run.server.requests.length === 9, { ...soon, what: "the look that succeeds" });
    expect(run.said(50)).toEqual([]);
    expect(run.requests).toEqual([]);
  });
});

test("two failures are no news", async () => {
  await using run = await watch([broken, broken, none]);
  await waitFor(() => run.server.requests.length > 4, { ...soon, what: "further looks" });
  expect(run.said(50)).toEqual([]);
  expect(run.said(30)).toEqual([]);
});

test("a cancellation that no event tells of is found while events come", async () => {
  const found: AnswerStep = { body: [{ ...goodFlowRun, id, state_type: "CANCELLING" }], always: true };
  await using run = await watch([{ body: [] }, found], { connected: true });
  await waitFor(() => run.requests.length > 0, { ...soon, what: "the end of the flow run" });
  expect(run.requests).toEqual([{ kind: "cancel" }]);
});

test("a state that is only named Cancelling does not end a flow run", async () => {
  const found: AnswerStep = { body: [{ ...goodFlowRun, id, state_type: "RUNNING" }], always: true };
  await using run = await watch([found]);
  await waitFor(() => run.server.requests.length > 2, { ...soon, what: "further looks" });
  expect(run.requests).toEqual([]);
});
