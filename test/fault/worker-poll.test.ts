// A worker goes on polling whatever its sockets do, and backs off as it says it does.
import { randomUUID } from "node:crypto";
import { describe, expect, test } from "vitest";
import { findFreePort } from "../support/free-port.ts";
import { runLictor } from "../support/lictor.ts";
import type { SocketStep } from "../support/scripted-server.ts";
import { waitFor } from "../support/wait-for.ts";
import { pollTimes, startPoolServer, startPoolWorker } from "./scripted-worker.ts";

const polled = { timeoutMs: 20_000, intervalMs: 20, what: "polls" };

describe("the worker polls and stops with exit code 0", () => {
  const cases: [sockets: string, step: SocketStep][] = [
    ["are not answered", { hang: true }],
    ["are silent after the upgrade", { play: () => undefined }],
    ["are refused", { refuse: 403 }],
    ["refuse the token", { play: (socket) => socket.close(1008, "Invalid token") }],
    [
      "send frames of no sense",
      {
        async play(socket) {
          await socket.acceptAuth();
          const strange = [17, null, [], {}, { type: "event" }, { type: "event", event: { resource: {} } }];
          for (const frame of strange) socket.send(JSON.stringify(frame));
          socket.send({ type: "event", event: { resource: { "prefect.resource.id": 5 } } });
          await socket.closed;
        },
      },
    ],
    [
      "send what is not JSON",
      {
        async play(socket) {
          await socket.acceptAuth();
          socket.send("<html>");
        },
      },
    ],
  ];
  test.concurrent.each(cases)("when its sockets %s", async (_what, step) => {
    await using server = await startPoolServer({ sockets: { ...step, always: true } });
    await using worker = await startPoolWorker(server);
    await waitFor(() => pollTimes(server).length >= 8, polled);
    const upgrades = server.requests.filter(({ method }) => method === "UPGRADE").map(({ path }) => path);
    expect(upgrades).toEqual(expect.arrayContaining(["/api/events/in", "/api/events/out"]));
    worker.signal("SIGTERM");
    expect(await worker.exited).toEqual({ code: 0, signal: null });
    expect(worker.stdout).toContain("Worker 'w' stopped!");
    expect(worker.stderr).not.toContain("    at ");
    expect(server.errors).toEqual([]);
  });
});

test("events do not shorten the pause after failed polls", async () => {
  const event = () => ({
    type: "event",
    event: {
      id: randomUUID(),
      occurred: new Date().toISOString(),
      resource: { "prefect.resource.id": `prefect.flow-run.${randomUUID()}`, "prefect.state-type": "SCHEDULED" },
    },
  });
  await using server = await startPoolServer({
    // An error that the client itself does not repeat.
    polls: Array.from({ length: 3 }, () => ({ status: 500, body: {} })),
    sockets: {
      always: true,
      async play(socket) {
        await socket.acceptAuth();
        const sending = setInterval(() => socket.send(event()), 50);
        await socket.closed;
        clearInterval(sending);
      },
    },
  });
  await using worker = await startPoolWorker(server, { PREFECT_WORKER_QUERY_SECONDS: "2" });
  await worker.waitForOutput(/The API is away: 3 polls/, 30_000);
  const [first = 0, , third = 0] = pollTimes(server);
  // Two pauses of 1.5 s and more, of which a new connection may have ended the first.
  expect(third - first).toBeGreaterThan(1_400);
});

test("three failed polls double the interval, a good one ends that", async () => {
  const failure = { status: 500, body: { detail: "broken" } };
  await using server = await startPoolServer({ polls: [failure, failure, failure] });
  await using worker = await startPoolWorker(server);
  await worker.waitForOutput(/WARNING .*The API is away: 3 polls of work pool 'p' .*: 500 broken\.$/m, 20_000);
  await worker.waitForOutput(/The API responds again, after \d s\./, 10_000);
  await waitFor(() => pollTimes(server).length >= 12, polled);
  const times = pollTimes(server);
  const gaps = times.slice(1).map((time, index) => time - (times[index] ?? 0));
  // The interval of 200 ms is between 150 and 260 with its jitter, doubled between 300 and 520.
  expect(gaps[2]).toBeGreaterThanOrEqual(295);
  expect(Math.min(...gaps.slice(3))).toBeLessThan(290);
});

test("an answer that hangs is given up, and the worker polls on", async () => {
  await using server = await startPoolServer({ polls: [{ hang: true }] });
  await using worker = await startPoolWorker(server, { PREFECT_API_REQUEST_TIMEOUT: "0.3" });
  await waitFor(() => pollTimes(server).length >= 4, polled);
  worker.signal("SIGTERM");
  expect((await worker.exited).code).toBe(0);
});

test("with --run-once a server that takes no heartbeat is told of, and the poll is done all the same", async () => {
  await using server = await startPoolServer({
    http: { "POST /api/work_pools/p/workers/heartbeat": [{ status: 503, always: true }] },
  });
  const { code, stderr } = await runLictor(["worker", "start", "--pool", "p", "--run-once"], {
    env: { PREFECT_API_URL: `${server.url}/api`, PREFECT_CLIENT_MAX_RETRIES: "0" },
  });
  expect(code).toBe(0);
  expect(stderr).toMatch(/The server could not be told that the worker lives/);
  expect(pollTimes(server)).toHaveLength(1);
});

test("a flow run that a poll finds without an event is told at debug level, and counted", async () => {
  const found = {
    id: "00000000-0000-4000-8000-000000000009",
    name: "n",
    flow_id: "f",
    tags: [],
    state_type: "SCHEDULED",
  };
  const poll = { body: [{ work_pool_id: "p", work_queue_id: "q", flow_run: found }] };
  const declined = { body: { status: "ABORT", state: null, details: { reason: "no" } }, always: true as const };
  let filtered = false;
  await using server = await startPoolServer({
    polls: Array.from({ length: 50 }, () => ({
      get body() {
        return filtered ? poll.body : [];
      },
    })),
    http: {
      [`POST /api/flow_runs/${found.id}/set_state`]: [declined],
      "GET /api/flows/f": [{ body: { id: "f", name: "f" }, always: true }],
    },
    sockets: {
      always: true,
      async play(socket) {
        await socket.acceptAuth();
        const frame = await socket.next<{ type: string }>().catch(() => undefined);
        if (frame?.type === "filter") filtered = true;
        await socket.closed;
      },
    },
  });
  const port = await findFreePort();
  await using worker = await startPoolWorker(server, {
    PREFECT_LOGGING_LEVEL: "DEBUG",
    PREFECT_CLIENT_METRICS_ENABLED: "true",
    PREFECT_CLIENT_METRICS_PORT: String(port),
  });
  await worker.waitForOutput(/a poll found flow runs that no event announced/, 20_000);
  const seen = pollTimes(server).length;
  await waitFor(() => pollTimes(server).length >= seen + 3, polled);
  const metrics = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
  expect(metrics).toMatch(/^lictor_flow_runs_unannounced_total\{work_pool="p"\} 1$/m);
});
