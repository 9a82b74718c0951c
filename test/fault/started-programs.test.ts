// Programs of other workers that the infrastructure remembers, and names only once when they have ended.
import { expect, test } from "vitest";
import type { StartedProgram } from "../../src/infrastructure/pool-type.ts";
import { StartedPrograms } from "../../src/worker/started-programs.ts";
import * as good from "../support/api-answers.ts";
import { startScriptedServer } from "../support/scripted-server.ts";
import { waitFor } from "../support/wait-for.ts";
import { openWorker } from "./channel-worker.ts";
import { untilTheEnd } from "./test-socket.ts";

const always = { always: true } as const;
const pending = { type: "PENDING", name: "Pending", message: null, state_details: { transition_id: "ours" } };
const claimed = { ...good.goodFlowRun, state_type: "PENDING", state: pending, labels: {} };
const program: StartedProgram = {
  flowRunId: claimed.id,
  handle: { poolType: "docker", identifier: "engine:1", proof: {} },
  instance: "there",
  workerName: "gone",
  proposals: ["ours"],
  mayHaveBegun: true,
};

const retried = { state_type: "SCHEDULED", state_name: "AwaitingRetry" };
const variants: [string, object][] = [
  ["is claimed", {}],
  // No poll returns it, because its engine would continue it.
  ["waits for a retry in its program", { ...retried, empirical_policy: { retry_type: "in_process" } }],
];

/** What the server answers about a flow run that was claimed. */
function answersAbout(flowRun: typeof claimed) {
  return {
    "POST /api/flow_runs/filter": [{ body: [flowRun], ...always }],
    [`GET /api/flow_runs/${flowRun.id}`]: [{ body: flowRun, ...always }],
    "GET /api/work_pools/p": [{ body: good.goodWorkPool, ...always }],
    [`GET /api/deployments/${good.goodDeployment.id}`]: [{ body: good.goodDeployment, ...always }],
    [`GET /api/flows/${good.goodFlowRun.flow_id}`]: [{ body: good.goodFlow, ...always }],
    "GET /api/flow_run_states/": [{ body: [pending], ...always }],
  };
}

test.each(variants)(
  "a program whose flow run %s is remembered until its worker is gone, and then continued once",
  async (_, state) => {
    const flowRun = { ...claimed, ...state };
    const server = await startScriptedServer({
      http: {
        ...answersAbout(flowRun),
        "POST /api/work_pools/p/workers/filter": [
          { body: [{ name: "gone", status: "ONLINE" }] },
          { status: 500 },
          { body: [], ...always },
        ],
      },
    });
    const { worker, client } = openWorker(server.url);
    worker.pool.current = good.goodWorkPool as never;
    const adopted: string[] = [];
    const found = [[program]];
    Object.assign(worker.infrastructure, {
      findStarted: async () => found.shift() ?? [],
      adopt: async ({ identifier }: { identifier: string }) => {
        adopted.push(identifier);
        return null;
      },
    });
    const programs = new StartedPrograms(worker);
    await programs.adopt(untilTheEnd);
    expect(adopted).toEqual([]);
    // The server may fail, and then the next look has to know the program too.
    const isAdopted = async () => {
      await programs.adopt(untilTheEnd);
      return adopted.length > 0;
    };
    await waitFor(isAdopted, { timeoutMs: 20_000, what: "the program to be continued" });
    await waitFor(() => !worker.runs.has(flowRun.id), { timeoutMs: 5_000, what: "the end of the flow run" });
    found.push([program]);
    await programs.adopt(untilTheEnd);
    expect(adopted).toEqual(["engine:1"]);
    client[Symbol.dispose]();
    await server.stop();
  },
);

test("a program that two looks find at the same time is continued once", async () => {
  const server = await startScriptedServer({
    http: {
      ...answersAbout(claimed),
      "POST /api/work_pools/p/workers/filter": [{ body: [], ...always }],
    },
  });
  const { worker, client } = openWorker(server.url);
  worker.pool.current = good.goodWorkPool as never;
  const adopted: string[] = [];
  Object.assign(worker.infrastructure, {
    findStarted: async () => [program],
    adopt: async ({ identifier }: { identifier: string }) => {
      adopted.push(identifier);
      return null;
    },
  });
  const programs = new StartedPrograms(worker);
  await Promise.all([programs.adopt(untilTheEnd), programs.adopt(untilTheEnd)]);
  await waitFor(() => !worker.runs.has(claimed.id), { timeoutMs: 5_000, what: "the end of the flow run" });
  expect(adopted).toEqual(["engine:1"]);
  expect(worker.services.slots.taken).toBe(0);
  client[Symbol.dispose]();
  await server.stop();
});

test("a program whose flow run is scheduled again is left alone", async () => {
  const body = [{ ...claimed, ...retried, empirical_policy: { retry_type: "reschedule" } }];
  const server = await startScriptedServer({ http: { "POST /api/flow_runs/filter": [{ body, ...always }] } });
  const { worker, client } = openWorker(server.url);
  worker.pool.current = good.goodWorkPool as never;
  Object.assign(worker.infrastructure, { findStarted: async () => [program] });
  expect(await new StartedPrograms(worker).adopt(untilTheEnd)).toBe(true);
  expect(worker.runs.has(claimed.id)).toBe(false);
  client[Symbol.dispose]();
  await server.stop();
});
