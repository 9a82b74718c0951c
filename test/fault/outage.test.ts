// An outage of the API while a worker runs, and before it has reached the API. It never ends the worker.
import { expect, test } from "vitest";
import type { Status } from "../../src/status/page/status-json.ts";
import { findFreePort } from "../support/free-port.ts";
import type { RunningProgram } from "../support/lictor.ts";
import type { AnswerStep } from "../support/scripted-server.ts";
import { waitFor } from "../support/wait-for.ts";
import { commandFlowRun } from "./command-flow-run.ts";
import { pollTimes, pool, startPoolServer, startPoolWorker } from "./scripted-worker.ts";

const soon = { timeoutMs: 20_000, intervalMs: 20 };
const failure: AnswerStep = { status: 500, body: { detail: "broken" } };
const page = { headers: { "content-type": "text/html" }, body: "<h1>Sorry</h1>" };
const once = { PREFECT_CLIENT_MAX_RETRIES: "0" };

/** How often the log has such a record. */
function count({ stderr }: RunningProgram, pattern: RegExp): number {
  return stderr.split("\n").filter((line) => pattern.test(line)).length;
}

/** An answer that is `away` for as long as `isAway` says so. */
function whileAway(isAway: () => boolean, back: AnswerStep, away: AnswerStep = failure): AnswerStep {
  return {
    get status() {
      return (isAway() ? away : back).status ?? 200;
    },
    get headers() {
      return (isAway() ? away : back).headers ?? {};
    },
    get body() {
      return (isAway() ? away : back).body;
    },
    always: true,
  };
}

test.concurrent.each<[what: string, away: AnswerStep, said: RegExp]>([
  [
    "an error",
    failure,
    /The API is away: 3 polls of work pool 'p' have failed in a row, within \d s\. .* 500 broken\.$/m,
  ],
  ["an expired key", { status: 401, body: { detail: "Unauthorized" } }, /The API refuses polls .* PREFECT_API_KEY/],
  ["the page of a firewall", { status: 403, ...page }, /The API refuses polls .* ask who runs it/],
  ["the 404 page of a proxy", { status: 404, ...page }, /The API refuses polls .* has answered/],
  ["a login page", { status: 302, headers: { location: "/login" } }, /The API refuses polls .*302/],
  ["a rate limit", { status: 429, body: { detail: "Slow down" } }, /The API is away: .*429 Slow down/],
  ["a web page", { status: 200, ...page }, /The API is away: .* not JSON/],
])("%s instead of answers to polls is told once, and the worker goes on", async (_what, away, said) => {
  let isAway = false;
  await using server = await startPoolServer({ polls: [whileAway(() => isAway, { body: [] }, away)] });
  await using worker = await startPoolWorker(server, { ...once, PREFECT_API_KEY: "pnu_expired" });
  await waitFor(() => pollTimes(server).length > 0, { ...soon, what: "a poll" });
  isAway = true;
  await worker.waitForOutput(said, 20_000);
  const before = pollTimes(server).length;
  await waitFor(() => pollTimes(server).length >= before + 2, { ...soon, what: "more polls" });
  isAway = false;
  await worker.waitForOutput(/The API responds again, after \d+ s\./, 20_000);
  expect(count(worker, /WARNING .*The API/)).toBe(1);
  worker.signal("SIGTERM");
  expect(await worker.exited).toEqual({ code: 0, signal: null });
});

test("a worker that starts with --type while the API is away keeps trying until it is there", async () => {
  let isAway = true;
  await using server = await startPoolServer({
    http: { "GET /api/work_pools/p": [whileAway(() => isAway, { body: pool })] },
  });
  const env = { ...once, PREFECT_WORKER_HEARTBEAT_SECONDS: "1" };
  await using worker = await startPoolWorker(server, env, ["--type", "process"]);
  await worker.waitForOutput(/The API is away: 3 heartbeats of work pool 'p'/, 30_000);
  expect(pollTimes(server)).toHaveLength(0);
  isAway = false;
  await worker.waitForOutput(/The API responds again/, 20_000);
  await waitFor(() => pollTimes(server).length > 0, { ...soon, what: "a poll" });
});

test("a worker that starts with --type while the API is away ends when its key is refused", async () => {
  let isAway = true;
  const refused = { status: 401, body: { detail: "Unauthorized" } };
  await using server = await startPoolServer({ http: { "GET /api/work_pools/p": [whileAway(() => isAway, refused)] } });
  const env = { ...once, PREFECT_WORKER_HEARTBEAT_SECONDS: "1", PREFECT_API_KEY: "pnu_wrong" };
  await using worker = await startPoolWorker(server, env, ["--type", "process"]);
  await worker.waitForOutput(/The API is away: 3 heartbeats/, 30_000);
  isAway = false;
  expect(await worker.exited).toEqual({ code: 1, signal: null });
  expect(worker.stderr).toMatch(/^GET \/work_pools\/p: 401 Unauthorized\..*PREFECT_API_KEY/m);
});

test("a new connection for events ends the wait of an outage", async () => {
  let isAway = false;
  let connections = 0;
  let end = (): void => {};
  await using server = await startPoolServer({
    polls: [whileAway(() => isAway, { body: [] })],
    sockets: {
      always: true,
      async play(socket) {
        await socket.acceptAuth();
        const frame = await socket.next<{ type: string }>().catch(() => undefined);
        if (frame?.type !== "filter") return;
        connections++;
        end = () => socket.close(1012, "restart");
        await socket.closed;
      },
    },
  });
  await using worker = await startPoolWorker(server, { PREFECT_WORKER_QUERY_SECONDS: "4" });
  await waitFor(() => connections === 1 && pollTimes(server).length >= 3, { ...soon, what: "the first polls" });
  isAway = true;
  await worker.waitForOutput(/The API is away/, 60_000);
  isAway = false;
  end();
  await worker.waitForOutput(/The API responds again/, 5_000);
});

test("/health is 503 and the status says since when, from the third failure in a row until an answer", async () => {
  let isAway = false;
  await using server = await startPoolServer({ polls: [whileAway(() => isAway, { body: [] })] });
  const port = await findFreePort();
  const env = { ...once, PREFECT_WORKER_WEBSERVER_PORT: String(port), PREFECT_WORKER_QUERY_SECONDS: "1" };
  await using worker = await startPoolWorker(server, env, ["--with-healthcheck"]);
  const read = async (path: string) => {
    const response = await fetch(`http://127.0.0.1:${port}${path}`);
    return [response.status, await response.json()] as [number, Status];
  };
  await waitFor(() => pollTimes(server).length > 0, { ...soon, what: "a poll" });
  isAway = true;
  const failing = await waitFor(
    async () => {
      const [status, body] = await read("/health");
      return "polls_failing_seconds" in body && [status, body];
    },
    { ...soon, what: "a failed poll" },
  );
  expect(failing).toEqual([200, { message: "OK", polls_failing_seconds: expect.any(Number) }]);
  const since = Date.now();
  await worker.waitForOutput(/The API is away/, 20_000);
  expect(await read("/health")).toEqual([
    503,
    {
      message: "The API is away. The worker keeps trying.",
      outage_seconds: expect.any(Number),
      polls_failing_seconds: expect.any(Number),
    },
  ]);
  const [, status] = await read("/status.json");
  expect(status.host.phase).toBe("outage");
  expect(Math.abs((status.workers[0]?.connections?.outageSince ?? 0) - since)).toBeLessThan(2_000);
  isAway = false;
  await worker.waitForOutput(/The API responds again/, 20_000);
  expect(await read("/health")).toEqual([200, { message: "OK" }]);
  expect((await read("/status.json"))[1].workers[0]?.connections?.outageSince).toBeNull();
  expect(count(worker, /ERROR/)).toBe(count(worker, /No Python with Prefect/));
});

test("a drain during an outage ends when the last flow run has ended", async () => {
  let isAway = false;
  const failsWhenAway = (back: AnswerStep): AnswerStep[] => [whileAway(() => isAway, back)];
  const { polls, http } = commandFlowRun("sleep 4");
  await using server = await startPoolServer({
    polls: [...polls, ...failsWhenAway({ body: [] })],
    http: {
      ...http,
      "GET /api/work_pools/p": failsWhenAway({ body: pool }),
      "POST /api/work_pools/p/workers/heartbeat": failsWhenAway({ status: 204 }),
    },
  });
  const env = { ...once, PREFECT_WORKER_HEARTBEAT_SECONDS: "1" };
  await using worker = await startPoolWorker(server, env);
  await waitFor(() => server.requests.some(({ path }) => path.endsWith("/labels")), { ...soon, what: "the process" });
  isAway = true;
  await worker.waitForOutput(/The API is away: 3 polls/, 10_000);
  worker.signal("SIGTERM");
  await worker.waitForOutput(/Waiting for 1 flow run\(s\) to end/, 5_000);
  expect(await worker.exited).toEqual({ code: 0, signal: null });
  expect(count(worker, /ERROR/)).toBe(count(worker, /No Python with Prefect/));
});
