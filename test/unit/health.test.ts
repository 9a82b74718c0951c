// When a program counts as stuck, and who may read its status page.
import { expect, test } from "vitest";
import { monotonicMs } from "../../src/async/clock.ts";
import { describeWork, isPolling } from "../../src/host/describe-work.ts";
import { secondsOverdue } from "../../src/host/serve-status.ts";
import { isTrustedHost, startHealthServer } from "../../src/status/health-server.ts";
import type { StatusSources } from "../../src/status/read-status.ts";
import { recordingLogger } from "../fault/test-socket.ts";
import { sendRequest } from "../support/send-request.ts";

const hourMs = 3_600_000;
const going = new AbortController().signal;

/** Two workers that poll every 10 s; the times are ms before now. */
function overdue(
  changes: Partial<{ polledMs: number; maintenanceMs: number; drain: AbortSignal }>,
): number | undefined {
  const { polledMs = hourMs, maintenanceMs, drain = going } = changes;
  const now = monotonicMs();
  const options = [{ querySeconds: 10 }, { querySeconds: 10 }];
  const sources = {
    startedAt: now - hourMs,
    options,
    workers: [
      { options: options[0], polling: { answeredAt: now - 1_000 } },
      { options: options[1], polling: { answeredAt: now - polledMs } },
    ],
    api: { maintenanceAt: () => (maintenanceMs === undefined ? undefined : now - maintenanceMs) },
    stop: { drain },
  };
  return secondsOverdue(sources as unknown as StatusSources);
}

test("a program is alive whose workers all poll, wait for the API's maintenance to be over, or drain", () => {
  expect(overdue({})).toBeCloseTo(3600, 0);
  expect(overdue({ polledMs: 299_000 })).toBeUndefined();
  expect(overdue({ polledMs: 301_000 })).toBeCloseTo(301, 0);
  expect(overdue({ maintenanceMs: 1_000 })).toBeUndefined();
  expect(overdue({ drain: AbortSignal.abort() })).toBeUndefined();
});

/** One worker whose poll loop last did something so many ms ago, with one flow run in flight. */
function oneWorker(turnedMs: number, changes: { drain?: AbortSignal; outageMs?: number; maintenanceMs?: number } = {}) {
  const now = monotonicMs();
  const { drain = going, outageMs, maintenanceMs } = changes;
  const ago = (ms: number | undefined): number | undefined => (ms === undefined ? undefined : now - ms);
  const worker = {
    options: { querySeconds: 10 },
    polling: { turnedAt: now - turnedMs },
    outage: { since: ago(outageMs) },
    runs: { list: () => ["a flow run"] },
  };
  return {
    workers: [worker],
    stop: { drain },
    api: { maintenanceAt: () => ago(maintenanceMs) },
  } as unknown as StatusSources;
}

test("a worker is stuck if a poll takes longer than all its retries, unless it drains or the API is in maintenance", () => {
  const longestPollMs = 600_000;
  expect(isPolling(oneWorker(899_000), longestPollMs)).toBe(true);
  expect(isPolling(oneWorker(901_000), longestPollMs)).toBe(false);
  expect(isPolling(oneWorker(hourMs, { drain: AbortSignal.abort() }), longestPollMs)).toBe(true);
  expect(isPolling(oneWorker(hourMs, { maintenanceMs: 1_000 }), longestPollMs)).toBe(true);
  expect(isPolling(oneWorker(1_000, { outageMs: hourMs }), longestPollMs)).toBe(true);
});

test("the work of a program is described in one line", () => {
  expect(describeWork(oneWorker(0))).toBe("1 flow run in flight");
  expect(describeWork(oneWorker(0, { outageMs: 1 }))).toBe("Waiting for the API, 1 flow run in flight");
  const drain = AbortSignal.abort();
  expect(describeWork(oneWorker(0, { drain, outageMs: 1 }))).toBe("Stopping, 1 flow run in flight");
  expect(describeWork({ ...oneWorker(0), workers: [] })).toBe("Starting");
});

test.each<[what: string, peer: string, host: string | undefined, isTrusted: boolean]>([
  ["a browser on this machine, by address", "127.0.0.1", "127.0.0.1:8080", true],
  ["by the address of version 6", "::1", "[::1]:8080", true],
  ["by name", "::ffff:127.0.0.1", "localhost:8080", true],
  ["by a name below localhost", "127.0.0.1", "worker.localhost", true],
  ["by the configured name", "127.0.0.1", "Worker.internal:8080", true],
  ["a client without a Host header", "127.0.0.1", undefined, true],
  ["a page of a name that leads to this machine", "127.0.0.1", "evil.example:8080", false],
  ["a page of a name that only ends like it", "127.0.0.1", "notlocalhost", false],
  ["a Host header that is none", "127.0.0.1", "a b", false],
  ["another machine, by whatever name", "192.0.2.7", "worker.example", true],
])("the status page answers or refuses %s", (_what, peer, host, isTrusted) => {
  expect(isTrustedHost(peer, host, "worker.internal")).toBe(isTrusted);
});

/** A server about a worker without a problem. */
const healthy = {
  host: "127.0.0.1",
  port: 0,
  silentSeconds: () => undefined,
  outageSeconds: () => undefined,
  pollsFailingSeconds: () => undefined,
  journalProblem: () => null,
  machineProblem: () => null,
  watches: () => [],
  status: () => ({}),
  logTail: async () => null,
  redact: (text: string) => text,
  log: recordingLogger().log,
};

test.each<[path: string, host: string, status: number]>([
  ["/", "evil.example", 403],
  ["/status.json", "evil.example", 403],
  ["/status.json?x=1", "evil.example", 403],
  ["/logs.json?flow_run=known", "evil.example", 403],
  ["/logs.json?flow_run=known", "localhost", 200],
  ["/logs.json?flow_run=another", "localhost", 404],
  ["/logs.json", "localhost", 404],
  ["/health", "evil.example", 200],
  ["/status.json", "localhost", 200],
])("a request for %s from this machine with the host name %s gets %i", async (path, host, status) => {
  using server = await startHealthServer({
    ...healthy,
    status: () => ({ host: "not for others" }),
    logTail: async (flowRunId) => (flowRunId === "known" ? { records: ["not for others"] } : null),
  });
  for (const method of ["GET", "HEAD"]) {
    const message = { method, headers: { Host: host }, body: "" };
    const answer = await sendRequest(`http://127.0.0.1:${server.port}${path}`, message);
    expect(answer.status).toBe(status);
    if (status === 403) expect(answer.body.toString()).not.toContain("not for others");
  }
});

test("the health says since when no watch of infrastructure has had a sign of life, and why", async () => {
  using server = await startHealthServer({
    ...healthy,
    watches: () => [
      { name: "Jobs", ageMs: 2_000, problem: null },
      { name: "pods", ageMs: 90_400, problem: "may not list pods, token-1" },
      { name: "others", ageMs: null, problem: null },
    ],
    redact: (text: string) => text.replace("token-1", "********"),
  });
  const { status, body } = await sendRequest(`http://127.0.0.1:${server.port}/health`, {
    method: "GET",
    headers: {},
    body: "",
  });
  expect([status, JSON.parse(body.toString())]).toEqual([
    200,
    { message: "OK", oldest_watch_seconds: 90, watch_problem: "may not list pods, ********" },
  ]);
});
