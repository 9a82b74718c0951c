// A server that wants to harm the worker: sizes, depths, redirects, frames, and ids that are paths.
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import * as good from "../support/api-answers.ts";
import { ensurePythonEnvironment } from "../support/python-environment.ts";
import type { AnswerStep, ScriptedServer, SocketStep } from "../support/scripted-server.ts";
import { waitFor } from "../support/wait-for.ts";
import { startPoolServer, startPoolWorker } from "./scripted-worker.ts";

const HOLD_MS = 6_000;
const MOST_MEMORY_KB = 400_000;

const POLL = "/api/work_pools/p/get_scheduled_flow_runs";

/** The most memory that the process had so far, in kB. */
async function peakMemory(pid: number): Promise<number> {
  return Number(/^VmHWM:\s+(\d+)/m.exec(await readFile(`/proc/${pid}/status`, "utf8"))?.[1]);
}

const nested = (depth: number): string => "[".repeat(depth) + "]".repeat(depth);

/** The text of a poll response whose flow run has this in its job variables, or this id. */
function pollWith({ variables = "{}", id = good.goodFlowRun.id }): string {
  const flowRun = { ...good.goodFlowRun, id, deployment_id: null, job_variables: "VARIABLES" };
  const text = JSON.stringify([{ ...good.goodPoll[0], flow_run: flowRun }]);
  return text.replace('"VARIABLES"', () => variables);
}

const json = { "content-type": "application/json" };

/** Frames of 1 MiB in one message of 100 MiB, which is what a limit on frames alone would let through. */
const floodSocket: SocketStep = {
  always: true,
  play: async (socket) => {
    socket.send(`"${"x".repeat(100 * 1024 * 1024)}"`);
    await delay(100);
  },
};

/** What the server answers about the one flow run of `id`: it accepts every state. */
function routesOf(id: string): Record<string, AnswerStep[]> {
  const always = { always: true } as const;
  const path = `/api/flow_runs/${encodeURIComponent(id)}`;
  return {
    [`GET /api/flows/${good.goodFlowRun.flow_id}`]: [{ body: good.goodFlow, ...always }],
    [`GET ${path}`]: [{ body: { ...good.goodFlowRun, id }, ...always }],
    [`PATCH ${path}`]: [{ status: 204, ...always }],
    [`PATCH ${path}/labels`]: [{ status: 204, ...always }],
    [`POST ${path}/set_state`]: [{ body: good.goodDecision, ...always }],
    "POST /api/flow_runs/filter": [{ body: [], ...always }],
    "POST /api/logs/": [{ status: 201, ...always }],
  };
}

/** Starts a worker with a Python, so that flow runs are claimed. */
async function startWorkerWithPython(server: ScriptedServer) {
  const { python } = await ensurePythonEnvironment(console.error);
  return await startPoolWorker(server, {}, ["--limit", "2", "--python", python]);
}

const rows: [what: string, polls: AnswerStep[], sockets?: SocketStep][] = [
  ["200 MB of JSON", [{ body: `["${"x".repeat(200_000_000)}"]`, headers: json, always: true }]],
  ["a million nested arrays", [{ body: nested(1_000_000), headers: json, always: true }]],
  [
    "job variables of 100,000 nested arrays",
    [{ body: pollWith({ variables: `{"env":{"A":${nested(100_000)}}}` }), headers: json, always: true }],
  ],
  ["redirects to itself", [{ body: [] }, { status: 307, headers: { location: POLL }, always: true }]],
  ["messages of 100 MB on all sockets", [], floodSocket],
];

describe("a worker survives a server that sends", () => {
  test.each(rows)("%s", async (_what, polls, sockets) => {
    const http = routesOf(good.goodFlowRun.id);
    await using server = await startPoolServer({ polls, http, ...(sockets && { sockets }) });
    await using worker = await startWorkerWithPython(server);
    await worker.waitForOutput(/started!/, 30_000);
    const before = server.requests.length;
    await delay(HOLD_MS);
    expect(worker.stderr).not.toMatch(/call stack/);
    expect(await peakMemory(worker.pid)).toBeLessThan(MOST_MEMORY_KB);
    // It still works, and does not call the server in a busy loop.
    const later = server.requests.length - before;
    expect(later).toBeGreaterThan(1);
    expect(later).toBeLessThan(400);
    worker.signal("SIGTERM");
    expect((await worker.exited).code).toBe(0);
    expect(worker.stderr).not.toMatch(/please report it/);
  });
});

test("a flow run whose id is a path gets no file outside of the worker's directories", async () => {
  const id = "../../../../../../escaped";
  const polls = [{ body: pollWith({ id }), headers: json, always: true }] satisfies AnswerStep[];
  await using server = await startPoolServer({ polls, http: routesOf(id) });
  await using worker = await startWorkerWithPython(server);
  await worker.waitForOutput(/submitting flow run/, 30_000);
  await waitFor(async () => server.requests.some(({ path }) => path.endsWith("/set_state")), {
    timeoutMs: 20_000,
    what: "a claim",
  });
  const found = (await readdir(worker.home, { recursive: true })).filter((path) => path.includes("escaped"));
  for (const path of found) expect(path).toMatch(/^\.prefect\/lictor\/instances\/[^/]+\/runs\/%2E%2E%2F/);
  expect(await readdir(join(worker.home, ".."))).not.toContain("escaped");
});
