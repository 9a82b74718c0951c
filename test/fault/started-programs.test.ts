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
const flowRun = { ...good.goodFlowRun, state_type: "PENDING", state: pending, labels: {} };
const program: StartedProgram = {
  flowRunId: flowRun.id,
  handle: { poolType: "docker", identifier: "engine:1", proof: {} },
  instance: "there",
  workerName: "gone",
  proposals: ["ours"],
  mayHaveBegun: true,
};

test("a program is remembered until its worker is gone, and then continued once", async () => {
  const server = await startScriptedServer({
    http: {
      "POST /api/flow_runs/filter": [{ body: [flowRun], ...always }],
      "POST /api/work_pools/p/workers/filter": [
        { body: [{ name: "gone", status: "ONLINE" }] },
        { status: 500 },
        { body: [], ...always },
      ],
      "GET /api/flow_run_states/": [{ body: [pending], ...always }],
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
  while (adopted.length === 0) await programs.adopt(untilTheEnd);
  await waitFor(() => !worker.runs.has(flowRun.id), { timeoutMs: 5_000, what: "the end of the flow run" });
  found.push([program]);
  await programs.adopt(untilTheEnd);
  expect(adopted).toEqual(["engine:1"]);
  client[Symbol.dispose]();
  await server.stop();
});
