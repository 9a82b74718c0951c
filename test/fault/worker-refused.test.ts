// A worker that cannot work: it leaves with one line that says why, and with no secret in it.
import { expect, test } from "vitest";
import { findFreePort } from "../support/free-port.ts";
import type { RunningProgram } from "../support/lictor.ts";
import { runLictor } from "../support/lictor.ts";
import type { AnswerStep } from "../support/scripted-server.ts";
import { waitFor } from "../support/wait-for.ts";
import { pollTimes, startPoolServer, startPoolWorker } from "./scripted-worker.ts";

const secret = "marked-secret-7f3a";

/** What is left of standard error without log records, which begin with a time. */
function plainLines({ stderr }: { stderr: string }): string[] {
  return stderr.split("\n").filter((line) => line !== "" && !/^\d\d:\d\d:\d\d/.test(line));
}

async function exitOf(worker: RunningProgram): Promise<number | null> {
  return (await worker.exited).code;
}

test("a web page instead of the API ends it with one line about PREFECT_API_URL", async () => {
  const page: AnswerStep = {
    headers: { "content-type": "text/html" },
    body: "<!doctype html><h1>Hi</h1>",
    always: true,
  };
  await using server = await startPoolServer({ http: { "GET /api/work_pools/p": [page] } });
  await using worker = await startPoolWorker(server, { PREFECT_CLIENT_MAX_RETRIES: "1" });
  expect(await exitOf(worker)).toBe(1);
  expect(worker.stderr).toMatch(/^Unable to reach the Prefect API .*200 with text\/html.*PREFECT_API_URL.*\n$/);
  expect(server.requests).toHaveLength(2);
});

test("a 401 on the first call ends it with one line that never shows the key", async () => {
  const body = { detail: `Bearer ${secret} is not valid here` };
  await using server = await startPoolServer({
    http: { "GET /api/work_pools/p": [{ status: 401, body, always: true }] },
  });
  await using worker = await startPoolWorker(server, { PREFECT_API_KEY: secret });
  expect(await exitOf(worker)).toBe(1);
  expect(server.requests.map(({ headers }) => headers.authorization)).toEqual([`Bearer ${secret}`]);
  expect(worker.stderr).toMatch(/^Unable to determine the type .*401.*PREFECT_API_KEY.*`lictor config view`.*\n$/);
  expect(worker.stdout + worker.stderr).not.toContain(secret);
});

test("a server that is not there ends it at once with one line", async () => {
  const apiUrl = `http://127.0.0.1:${await findFreePort()}/api`;
  const { code, stderr } = await runLictor(["worker", "start", "--pool", "p"], { env: { PREFECT_API_URL: apiUrl } });
  expect(code).toBe(1);
  expect(stderr).toMatch(/^Unable to reach the Prefect API .*ECONNREFUSED.*\n$/);
});

test("a 401 on the first poll ends it", async () => {
  await using server = await startPoolServer({ polls: [{ status: 401, body: { exception_message: "Unauthorized" } }] });
  await using worker = await startPoolWorker(server, { PREFECT_API_KEY: secret });
  expect(await exitOf(worker)).toBe(1);
  expect(pollTimes(server)).toHaveLength(1);
  expect(plainLines(worker)).toEqual([expect.stringMatching(/^POST .*get_scheduled_flow_runs: 401 Unauthorized\./)]);
  expect(worker.stdout + worker.stderr).not.toContain(secret);
});

test("a 404 to a heartbeat does not end it, because the work pool was deleted after it was read", async () => {
  const gone = { status: 404, body: { detail: 'Worker pool "p" not found.' } };
  await using server = await startPoolServer({
    http: { "POST /api/work_pools/p/workers/heartbeat": [gone, { status: 204, always: true }] },
  });
  await using worker = await startPoolWorker(server, { PREFECT_WORKER_HEARTBEAT_SECONDS: "1" });
  const beats = () => server.requests.filter(({ path }) => path.endsWith("/heartbeat")).length;
  await waitFor(() => beats() >= 2, { timeoutMs: 20_000, what: "a second heartbeat" });
  worker.signal("SIGTERM");
  expect(await exitOf(worker)).toBe(0);
});
