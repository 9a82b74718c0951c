// Polls whose answers are too large, fail, or never come.
import { once } from "node:events";
import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { describe, expect, test } from "vitest";
import { Polls } from "../../src/api/polls.ts";
import { monotonicMs } from "../../src/async/clock.ts";
import { type AnswerStep, startScriptedServer } from "../support/scripted-server.ts";
import { waitFor } from "../support/wait-for.ts";
import { capturedLog, messagesFrom, openTestClient, rejectionOf } from "./test-client.ts";

const route = "POST /api/work_pools/p/get_scheduled_flow_runs";
const soon = new Date(0);
const going = new AbortController().signal;
const [debug, info, warning] = [20, 30, 40];

function scheduled(count: number): AnswerStep {
  const flow_run = { id: "r", name: "n", flow_id: "f", tags: [] };
  return { body: Array.from({ length: count }, () => ({ work_pool_id: "p", work_queue_id: "q", flow_run })) };
}

/** As large as 136 flow runs with 515 kB of parameters. */
const huge: AnswerStep = { headers: { "content-length": "70000000" }, body: "[" };

function openPolls(origin: string, changes: { requestTimeoutMs?: number; intervalMs?: number } = {}) {
  const captured = capturedLog();
  const api = openTestClient(origin, { maxRetries: 0, ...changes });
  const { intervalMs = 10_000 } = changes;
  const polls = new Polls(api, { workPoolName: "p", workQueueNames: [], intervalMs, log: captured.log });
  return { captured, polls, [Symbol.dispose]: () => api[Symbol.dispose]() };
}

describe("an answer that is too large", () => {
  test("is asked for in smaller pieces until there is no rest", async () => {
    const http = { [route]: [huge, huge, scheduled(50), scheduled(36), scheduled(0)] };
    await using server = await startScriptedServer({ http });
    using open = openPolls(server.url);
    expect(await open.polls.scheduled(soon, going)).toHaveLength(50);
    expect(open.polls.hasMore).toBe(true);
    expect(await open.polls.scheduled(soon, going)).toHaveLength(36);
    expect(open.polls.hasMore).toBe(false);
    await open.polls.scheduled(soon, going);
    const limits = server.requests.map(({ body }) => (JSON.parse(body) as { limit?: number }).limit);
    expect(limits).toEqual([undefined, 100, 50, 50, undefined]);
    expect(messagesFrom(warning, open.captured)).toEqual([]);
  });

  test("of a single flow run is a failed poll", async () => {
    await using server = await startScriptedServer({ http: { [route]: [{ ...huge, always: true }] } });
    using open = openPolls(server.url);
    expect(await rejectionOf(open.polls.scheduled(soon, going))).toMatchObject({ name: "ResponseTooLargeError" });
    expect(server.requests).toHaveLength(8);
    expect(messagesFrom(debug, open.captured)).toContain("a poll failed");
  });
});

/** A server that hangs on some connections, as one of two replicas behind one address may. */
async function startReplicas() {
  const connections: Socket[] = [];
  const hanging = new Set<Socket>();
  const open: ServerResponse[] = [];
  let requests = 0;
  const server = createServer((request, response) => {
    requests++;
    open.push(response);
    if (!hanging.has(request.socket)) response.setHeader("content-type", "application/json").end("[]");
  });
  server.on("connection", (socket) => connections.push(socket));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    connections,
    hanging,
    requests: () => requests,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
}

describe("a poll without an answer", () => {
  test("is repeated on a new connection, which the next polls use too", async () => {
    await using replicas = await startReplicas();
    using open = openPolls(replicas.origin, { requestTimeoutMs: 30_000 });
    await open.polls.scheduled(soon, going);
    await open.polls.scheduled(soon, going);
    expect(replicas.connections).toHaveLength(1);
    for (const socket of replicas.connections) replicas.hanging.add(socket);
    const startedAt = monotonicMs();
    expect(await open.polls.scheduled(soon, going)).toEqual([]);
    expect(monotonicMs() - startedAt).toBeLessThan(3_000);
    expect(replicas.connections).toHaveLength(2);
    await open.polls.scheduled(soon, going);
    expect([replicas.connections.length, replicas.requests()]).toEqual([2, 5]);
    expect(open.polls.hedge.repeatedCount).toBe(1);
    expect(messagesFrom(0, open.captured)).toEqual([
      "a poll got no answer in time and was repeated on a new connection",
    ]);
  });

  test("wins when it comes after all, and the repetition is given up", async () => {
    const slow: AnswerStep = { ...scheduled(1), delayMs: 2_500 };
    await using server = await startScriptedServer({ http: { [route]: [scheduled(0), slow, { hang: true }] } });
    using open = openPolls(server.url);
    await open.polls.scheduled(soon, going);
    expect(await open.polls.scheduled(soon, going)).toHaveLength(1);
    expect(server.requests).toHaveLength(3);
  });

  test("fails when its repetition does not get one either", async () => {
    await using server = await startScriptedServer({ http: { [route]: [{ hang: true, always: true }] } });
    using open = openPolls(server.url, { requestTimeoutMs: 400 });
    expect(await rejectionOf(open.polls.scheduled(soon, going))).toMatchObject({ code: "RESPONSE_TIMEOUT" });
    expect(server.requests).toHaveLength(2);
  });

  test("for twice the interval is a warning, and the next answer ends that", async () => {
    await using server = await startScriptedServer({
      http: { [route]: [{ hang: true }, { hang: true }, scheduled(0)] },
    });
    using open = openPolls(server.url, { intervalMs: 1_000 });
    const stop = new AbortController();
    const poll = rejectionOf(open.polls.scheduled(soon, stop.signal));
    const messages = (): string[] => messagesFrom(info, open.captured);
    await waitFor(() => messages().length > 0, { timeoutMs: 5_000, what: "the warning" });
    expect(open.polls.health.failingSince).toBeLessThan(monotonicMs() - 1_900);
    stop.abort();
    await poll;
    await open.polls.scheduled(soon, going);
    expect(messages()).toEqual([
      expect.stringMatching(/^The server has not answered a poll for 2 s; lictor waits on\. If other requests/),
      expect.stringMatching(/^Polls are answered again after \d s\.$/),
    ]);
    expect(open.polls.health.failingSince).toBeUndefined();
  });

  test("is not repeated while a 503 asks for a pause", async () => {
    const busy: AnswerStep = { status: 503, headers: { "Retry-After": "2" } };
    await using server = await startScriptedServer({ http: { [route]: [busy, scheduled(0)] } });
    const captured = capturedLog();
    using api = openTestClient(server.url);
    const polls = new Polls(api, { workPoolName: "p", workQueueNames: [], intervalMs: 10_000, log: captured.log });
    await polls.scheduled(soon, going);
    expect(server.requests).toHaveLength(2);
  });
});

test("polls that fail are no warning, because the worker tells of the outage", async () => {
  const failure: AnswerStep = { status: 500, body: { detail: "broken" } };
  await using server = await startScriptedServer({ http: { [route]: [failure, failure, scheduled(0)] } });
  using open = openPolls(server.url);
  await rejectionOf(open.polls.scheduled(soon, going));
  await rejectionOf(open.polls.scheduled(soon, going));
  expect(open.polls.health.failingSince).toBeDefined();
  await open.polls.scheduled(soon, going);
  expect(open.polls.health.failingSince).toBeUndefined();
  expect(messagesFrom(info, open.captured)).toEqual([]);
});
