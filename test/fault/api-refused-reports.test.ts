// Reports that a server or a firewall refuses for a while: an expired key, a rule that is being changed.
import { expect, test } from "vitest";
import { findFlowRun } from "../../src/api/flow-runs.ts";
import { proposeState } from "../../src/run/propose-state.ts";
import { type AnswerStep, type ScriptedServer, startScriptedServer } from "../support/scripted-server.ts";
import { bearer, capturedLog, fixedCredentials, messagesFrom, openTestClient, rejectionOf } from "./test-client.ts";

const crashed = { type: "CRASHED", name: "Crashed", message: null } as const;
const accepted: AnswerStep = { body: { status: "ACCEPT", state: crashed, details: {} } };
const expired: AnswerStep = { status: 401, body: { detail: "Unauthorized" } };
const firewall: AnswerStep = { status: 403, headers: { "content-type": "text/html" }, body: "<h1>Forbidden</h1>" };
const login: AnswerStep = { status: 302, headers: { location: "https:///" }, body: "" };
const setState = "POST /api/flow_runs/some-run/set_state";
const read = "GET /api/flow_runs/some-run";
/** It is read before a report is repeated. */
const readHistory = "GET /api/flow_run_states/";
const nothing: AnswerStep = { body: [], always: true };
const flowRun: AnswerStep = { body: { id: "some-run" }, always: true };
const info = 30;
const quick = { credentials: fixedCredentials(bearer("marked-secret")), jitter: 0 };

test("a report refused by an expired key, a firewall's page and a login page is kept until it is taken", async () => {
  const captured = capturedLog();
  const steps = [expired, firewall, login, accepted];
  await using server = await startScriptedServer({
    http: { [read]: [flowRun], [readHistory]: [nothing], [setState]: steps },
  });
  using api = openTestClient(server.url, { ...quick, log: captured.log });
  await findFlowRun(api, "some-run");
  expect(await proposeState(api, "some-run", crashed)).toMatchObject({ kind: "accepted" });
  const reports = server.requests.filter(({ method }) => method === "POST");
  expect(new Set(reports.map(({ body }) => body)).size).toBe(1);
  const gapsMs = reports.slice(1).map(({ atMs }, index) => atMs - (reports[index]?.atMs ?? 0));
  expect(gapsMs.map((ms) => Math.round(ms / 1000))).toEqual([1, 2, 4]);
  expect(messagesFrom(info, captured)).toEqual([
    expect.stringMatching(/^POST .*set_state: 401 Unauthorized\. .*The request is repeated until/),
    "The server takes the refused requests again.",
  ]);
});

test("two reports that are refused at once are one warning", async () => {
  const captured = capturedLog();
  const other = "POST /api/flow_runs/other-run/set_state";
  await using server = await startScriptedServer({
    http: {
      [read]: [flowRun],
      [readHistory]: [nothing],
      [setState]: [expired, accepted],
      [other]: [expired, accepted],
    },
  });
  using api = openTestClient(server.url, { ...quick, log: captured.log });
  await findFlowRun(api, "some-run");
  await Promise.all(["some-run", "other-run"].map((id) => proposeState(api, id, crashed)));
  expect(messagesFrom(info, captured)).toHaveLength(2);
});

test("a refused report of a state that is forced is not made twice", async () => {
  const made: AnswerStep = {
    get body() {
      const { state } = JSON.parse(server.requests[1]?.body ?? "") as { state: { state_details: object } };
      return [{ ...crashed, state_details: state.state_details }];
    },
  };
  await using server: ScriptedServer = await startScriptedServer({
    http: { [read]: [flowRun], [readHistory]: [made], [setState]: [expired] },
  });
  using api = openTestClient(server.url, quick);
  await findFlowRun(api, "some-run");
  expect(await proposeState(api, "some-run", crashed, { force: true })).toMatchObject({ kind: "accepted" });
  expect(server.requests.filter(({ method }) => method === "POST")).toHaveLength(1);
});

test.each([
  ["a claim", { isClaim: true }, true],
  ["whatever comes first", {}, false],
])("%s is not repeated when it is refused", async (_what, options, hasContact) => {
  await using server = await startScriptedServer({ http: { [read]: [flowRun], [setState]: [expired] } });
  using api = openTestClient(server.url, quick);
  if (hasContact) await findFlowRun(api, "some-run");
  const error = await rejectionOf(proposeState(api, "some-run", crashed, options));
  expect(error).toMatchObject({ name: "ApiError", status: 401 });
});

test("a report that the API itself declines is not repeated", async () => {
  const gone: AnswerStep = { status: 404, body: { detail: "Flow run not found" } };
  await using server = await startScriptedServer({ http: { [read]: [flowRun], [setState]: [gone] } });
  using api = openTestClient(server.url, quick);
  await findFlowRun(api, "some-run");
  expect(await rejectionOf(proposeState(api, "some-run", crashed))).toMatchObject({ status: 404 });
});
