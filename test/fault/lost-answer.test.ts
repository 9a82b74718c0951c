// Answers of a real server that are lost on the way: the server has done its part, the worker has not heard of it.
import { expect, inject, test } from "vitest";
import { sleeping, startCommand } from "../server/cancelled-runs.ts";
import { deploy, newPool, sharedApi } from "../server/deployments.ts";
import { type SeenRequest, startReverseProxy } from "../support/reverse-proxy.ts";
import { startWorker } from "../support/start-worker.ts";

interface Proposal {
  state: { name: string; state_details: { transition_id: string | null } };
}

/** The proposal that a request makes, if it makes one of this name. */
function proposalOf({ method, path, body }: SeenRequest, name: string): Proposal | undefined {
  if (method !== "POST" || !path.endsWith("/set_state")) return undefined;
  const proposal = JSON.parse(body) as Proposal;
  return proposal.state.name === name ? proposal : undefined;
}

test.each(["Pending", "Submitting"])("the answer to %s: the flow run is executed once, and completes", async (name) => {
  const api = sharedApi();
  const pool = await newPool(api);
  const deployment = await deploy(api, pool, "hello");
  let lost = 0;
  await using proxy = await startReverseProxy(inject("apiUrl"), {
    onRequest: (request) => (proposalOf(request, name) && lost++ === 0 ? "lose-answer" : undefined),
  });
  await using worker = await startWorker(pool, { apiUrl: proxy.apiUrl });
  const created = await api.createFlowRun(deployment);
  const { flowRun, states } = await api.waitForState(created.id, ["COMPLETED"], 60_000);

  const proposals = proxy.requests.flatMap((request) => proposalOf(request, name) ?? []);
  const transitionIds = proposals.map(({ state }) => state.state_details.transition_id);
  expect(transitionIds).toEqual([transitionIds[0], transitionIds[0]]);
  expect(transitionIds[0]).toEqual(expect.any(String));
  expect(states.map((state) => state.name)).toEqual(["Scheduled", "Pending", "Submitting", "Running", "Completed"]);
  expect(flowRun).toMatchObject({ run_count: 1 });
  worker.signal("SIGTERM");
  expect((await worker.exited).code).toBe(0);
  expect(worker.stderr.match(/submitting flow run/g)).toHaveLength(1);
});

test("the answer to Pending of a flow run that is cancelled before the repetition: it ends as Cancelled", async () => {
  const api = sharedApi();
  const pool = await newPool(api);
  const deployment = await deploy(api, pool, "hello");
  let proposals = 0;
  await using proxy = await startReverseProxy(inject("apiUrl"), {
    onRequest: async (request) => {
      if (!proposalOf(request, "Pending")) return undefined;
      if (++proposals === 1) return "lose-answer";
      const [, id = ""] = /flow_runs\/(.*)\/set_state/.exec(request.path) ?? [];
      await api.setState(id, "CANCELLING");
      return undefined;
    },
  });
  await using _worker = await startWorker(pool, { apiUrl: proxy.apiUrl });
  const created = await api.createFlowRun(deployment);
  const { states } = await api.waitForState(created.id, ["CANCELLED"], 60_000);
  expect(states.map(({ type }) => type)).toEqual(["SCHEDULED", "PENDING", "CANCELLING", "CANCELLED"]);
});

test("the answer to a poll: the flow run is found by the next one", async () => {
  const api = sharedApi();
  const pool = await newPool(api);
  const created = await api.createFlowRun(await deploy(api, pool, "hello"));
  let lost = 0;
  await using proxy = await startReverseProxy(inject("apiUrl"), {
    onRequest: ({ path }) => (path.endsWith("/get_scheduled_flow_runs") && lost++ === 0 ? "lose-answer" : undefined),
  });
  await using _worker = await startWorker(pool, { apiUrl: proxy.apiUrl });
  const { states } = await api.waitForState(created.id, ["COMPLETED"], 60_000);
  expect(lost).toBeGreaterThanOrEqual(2);
  expect(states.filter((state) => state.type === "RUNNING")).toHaveLength(1);
});

test("the answer to Crashed: it is reported once, and the worker is done with the flow run", async () => {
  const api = sharedApi();
  const pool = await newPool(api);
  const created = await api.createFlowRun(await deploy(api, pool, "kill_self"));
  let lost = 0;
  await using proxy = await startReverseProxy(inject("apiUrl"), {
    onRequest: (request) => (proposalOf(request, "Crashed") && lost++ === 0 ? "lose-answer" : undefined),
  });
  await using worker = await startWorker(pool, { apiUrl: proxy.apiUrl });
  await worker.waitForOutput(/Reported flow run '.*' as crashed/, 60_000);
  expect(lost).toBe(1);
  worker.signal("SIGTERM");
  expect((await worker.exited).code).toBe(0);
  const states = await api.readStates(created.id);
  expect(states.filter((state) => state.type === "CRASHED")).toHaveLength(1);
});

test("the answers to Cancelled, which is forced: it is there once", async () => {
  let lost = 0;
  await using proxy = await startReverseProxy(inject("apiUrl"), {
    onRequest: (request) => (proposalOf(request, "Cancelled") && lost++ < 2 ? "lose-answer" : undefined),
  });
  await using run = await startCommand(sleeping, { apiUrl: proxy.apiUrl });
  await run.worker.waitForOutput(/^plain$/m, 20_000);
  await run.api.setState(run.id, "CANCELLING", { force: true });
  await run.worker.waitForOutput(/Cancelled flow run '.*'/, 60_000);
  expect(lost).toBeGreaterThan(0);
  const states = await run.api.readStates(run.id);
  expect(states.slice(-2).map(({ type }) => type)).toEqual(["CANCELLING", "CANCELLED"]);
});
