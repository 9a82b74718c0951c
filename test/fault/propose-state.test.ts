// What becomes of a state proposal when the answer is lost, late, or no.
import { describe, expect, test } from "vitest";
import type { StateProposal } from "../../src/api/wire.ts";
import { proposeState, waitMs } from "../../src/run/propose-state.ts";
import { type AnswerStep, type ScriptedServer, startScriptedServer } from "../support/scripted-server.ts";
import { waitFor } from "../support/wait-for.ts";
import { openTestClient, rejectionOf } from "./test-client.ts";

const pending: StateProposal = { type: "PENDING", name: "Pending", message: null };
const accepted = answerWith("ACCEPT", { id: "state-1", type: "PENDING", name: "Pending", message: null });
// The server takes the proposal, but only half of its answer arrives.
const acceptedUnheard: AnswerStep = { ...accepted, cut: true };

interface Proposal {
  state: { state_details: { transition_id: string } };
}

function answerWith(status: string, state: object | null, details: object = {}): AnswerStep {
  return { body: { status, state, details } };
}

function startServer(...steps: AnswerStep[]): Promise<ScriptedServer> {
  return startScriptedServer({ http: { "POST /api/flow_runs/some-run/set_state": steps } });
}

async function propose(server: ScriptedServer, options?: { force?: boolean }) {
  using api = openTestClient(server.url);
  return await proposeState(api, "some-run", pending, options);
}

const transitionIds = ({ requests }: ScriptedServer): string[] =>
  requests
    .filter(({ method }) => method === "POST")
    .map(({ body }) => (JSON.parse(body) as Proposal).state.state_details.transition_id);

/** The answer to a repeated proposal: the state that the server holds is the one that the first request brought. */
function alreadyMade(server: () => ScriptedServer): AnswerStep {
  return {
    get body() {
      const state = { type: "PENDING", name: "Pending", state_details: { transition_id: transitionIds(server())[0] } };
      const details = { type: "reject_details", reason: "This run has already made this state transition." };
      return { status: "REJECT", state, details };
    },
  };
}

describe("an answer that is lost", () => {
  test("is asked for again with the same transition id", async () => {
    await using server = await startServer(acceptedUnheard, { status: 500 }, accepted);
    expect((await propose(server)).kind).toBe("accepted");
    const [first, ...repeated] = transitionIds(server);
    expect(first).toMatch(/^[0-9a-f-]{36}$/);
    expect(repeated).toEqual([first, first]);
  });

  test("costs nothing: the rejection of the repetition by its own transition id is an acceptance", async () => {
    await using server: ScriptedServer = await startServer(
      acceptedUnheard,
      alreadyMade(() => server),
    );
    expect(await propose(server)).toMatchObject({ kind: "accepted", state: { type: "PENDING" } });
    expect(server.requests).toHaveLength(2);
  });
});

test("a failure whose answer is lost is not reported again if the server has decided on a retry", async () => {
  const states = [
    { type: "SCHEDULED", name: "AwaitingRetry", timestamp: "2026-01-01T00:00:02Z" },
    { type: "RUNNING", name: "Running", timestamp: "2026-01-01T00:00:01Z" },
  ];
  await using server = await startScriptedServer({
    http: {
      "POST /api/flow_runs/some-run/set_state": [{ ...answerWith("REJECT", states[0] ?? null), cut: true }],
      "GET /api/flow_run_states/": [{ body: states }],
    },
  });
  using api = openTestClient(server.url);
  const failed = { type: "FAILED", name: "Failed", message: null } as const;
  const decision = await proposeState(api, "some-run", failed);
  expect(decision).toMatchObject({ kind: "rejected", state: { name: "AwaitingRetry" } });
  expect(transitionIds(server)).toHaveLength(1);
});

test("a report whose answer is lost is not made again, even if another worker has gone on", async () => {
  const own: AnswerStep = {
    get body() {
      const [transition_id] = transitionIds(server);
      const scheduled = { type: "SCHEDULED", name: "Scheduled", state_details: { transition_id } };
      return [scheduled, { type: "COMPLETED", name: "Completed", state_details: { transition_id: "another's" } }];
    },
  };
  const setState = "POST /api/flow_runs/some-run/set_state";
  await using server: ScriptedServer = await startScriptedServer({
    http: { [setState]: [acceptedUnheard], "GET /api/flow_run_states/": [own] },
  });
  using api = openTestClient(server.url);
  const scheduled: StateProposal = { type: "SCHEDULED", name: "Scheduled", message: null };
  expect(await proposeState(api, "some-run", scheduled)).toMatchObject({
    kind: "accepted",
    state: { type: "SCHEDULED" },
  });
});

describe("the server's decision", () => {
  test("ACCEPT gives the state as the server has it", async () => {
    await using server = await startServer(accepted);
    expect(await propose(server)).toMatchObject({ kind: "accepted", state: { id: "state-1", type: "PENDING" } });
    const body = JSON.parse(server.requests[0]?.body ?? "") as object;
    expect(body).toMatchObject({
      force: false,
      state: { type: "PENDING", state_details: { flow_run_id: "some-run" } },
    });
  });

  test("REJECT gives the state that the server holds instead, be it of the same type", async () => {
    const theirs = { type: "PENDING", name: "Pending", state_details: { transition_id: "somebody else's" } };
    await using server = await startServer(answerWith("REJECT", theirs, { reason: "taken" }));
    expect(await propose(server)).toEqual({ kind: "rejected", state: theirs, reason: "taken" });
  });

  test("ABORT gives the reason", async () => {
    const running = { type: "RUNNING", name: "Running" };
    await using server = await startServer(answerWith("ABORT", running, { reason: "it runs already" }));
    expect(await propose(server)).toEqual({ kind: "aborted", state: running, reason: "it runs already" });
    expect(server.requests).toHaveLength(1);
  });

  test("WAIT is waited for in full, then the same state is proposed again", async () => {
    await using server = await startServer(answerWith("WAIT", null, { delay_seconds: 1, reason: "later" }), accepted);
    expect((await propose(server)).kind).toBe("accepted");
    const [first, second] = server.requests.map(({ atMs }) => atMs);
    // A timer may fire a little early by another clock.
    expect((second ?? 0) - (first ?? 0)).toBeGreaterThanOrEqual(990);
    // A copy of the first request that arrives late then sets nothing a second time.
    expect(new Set(transitionIds(server)).size).toBe(1);
  });

  test.each([
    ["at most five minutes", 86_400, 300_000],
    ["as long as the server asks", 2.5, 2_500],
    ["at least a tenth of a second", 0, 100],
    ["a tenth of a second for a time in the past", -5, 100],
  ])("WAIT is waited for %s", (_what, delaySeconds, expectedMs) => {
    expect(waitMs(delaySeconds)).toBe(expectedMs);
  });

  test("WAIT ends when its signal aborts, and nothing more is proposed", async () => {
    await using server = await startServer(answerWith("WAIT", null, { delay_seconds: 86_400 }));
    using api = openTestClient(server.url);
    const told = new AbortController();
    const proposal = rejectionOf(proposeState(api, "some-run", pending, { signal: told.signal }));
    await waitFor(() => server.requests.length === 1, { timeoutMs: 5_000, what: "the proposal" });
    const reason = new Error("told to end");
    told.abort(reason);
    expect(await proposal).toBe(reason);
    expect(server.requests).toHaveLength(1);
  });

  test("a deleted flow run is an ApiError, asked for once", async () => {
    await using server = await startServer({ status: 404, body: { detail: "Flow run not found" } });
    expect(await rejectionOf(propose(server))).toMatchObject({ name: "ApiError", status: 404 });
    expect(server.requests).toHaveLength(1);
  });

  test("force is sent when it is asked for", async () => {
    await using server = await startServer(accepted);
    await propose(server, { force: true });
    expect(JSON.parse(server.requests[0]?.body ?? "")).toMatchObject({ force: true });
  });
});
