// The worker channel against a real server: what it spares REST, and that nothing depends on it.
import { randomUUID } from "node:crypto";
import { beforeEach, describe, expect, inject, test } from "vitest";
import { findFreePort } from "../support/free-port.ts";
import type { RunningProgram } from "../support/lictor.ts";
import { type PrefectApi, prefectApi } from "../support/prefect-api.ts";
import { needsPrefect } from "../support/prefect-release.ts";
import { startPrefectServer } from "../support/prefect-server.ts";
import { type ReverseProxy, startReverseProxy } from "../support/reverse-proxy.ts";
import { startWorker } from "../support/start-worker.ts";
import { makeTemporaryDirectory } from "../support/temporary-directory.ts";
import { waitFor } from "../support/wait-for.ts";
import { deploy, newPool, sharedApi } from "./deployments.ts";

const open = /Connected to the worker channel/;
/** Debug records tell of the channel; polls come only when there is a reason to. */
const env = { PREFECT_LOGGING_LEVEL: "DEBUG", PREFECT_WORKER_QUERY_SECONDS: "60" };
const quickly = { ...env, PREFECT_WORKER_HEARTBEAT_SECONDS: "1" };
const heartbeat = /\/workers\/heartbeat$/;
/** A connection that has failed some times is tried again after up to half a minute. */
const soon = { timeoutMs: 40_000 };

/** Waits until the server has had `count` more heartbeats of the pool's one worker; it is online then. */
async function heartbeats(api: PrefectApi, pool: string, count: number): Promise<void> {
  const times = new Set<string | null | undefined>();
  const more = async () => {
    const [worker] = await api.readWorkers(pool);
    times.add(worker?.last_heartbeat_time);
    return times.size > count && worker?.status === "ONLINE";
  };
  await waitFor(more, { ...soon, what: `${count} heartbeats` });
}

async function logged(worker: RunningProgram, pattern: RegExp, times: number): Promise<void> {
  const all = new RegExp(pattern, "g");
  await waitFor(() => (worker.stderr.match(all) ?? []).length >= times, { ...soon, what: `${times} × ${pattern}` });
}

const poolReads = (proxy: ReverseProxy, pool: string) => proxy.count("GET", `/work_pools/${pool}`);

const needsChannel = () => needsPrefect("3.7.2", "the worker channel");

describe.concurrent("while the worker channel is open", () => {
  beforeEach(needsChannel);

  test("the worker stays online without a heartbeat or a read of its work pool over REST", async () => {
    // On a server that others use too, hardly a heartbeat would not collide.
    await using server = await startPrefectServer();
    const api = prefectApi(server.apiUrl);
    const pool = await newPool(api);
    await using proxy = await startReverseProxy(server.apiUrl);
    await using worker = await startWorker(pool, { apiUrl: proxy.apiUrl, env: quickly });
    await worker.waitForOutput(open, soon.timeoutMs);
    const seen = () => [proxy.count("POST", heartbeat), poolReads(proxy, pool)];
    // A server on SQLite closes the channel when a heartbeat collides with another write, and REST goes on until it is
    // open again: then it is watched once more.
    let before: number[];
    do {
      before = seen();
      await heartbeats(api, pool, 4);
    } while (seen().join() !== before.join());
    worker.signal("SIGTERM");
    expect(await worker.exited).toEqual({ code: 0, signal: null });
  });

  test("a change of the base job template counts for the next flow run, and a resumed pool is polled at once", async () => {
    const api = sharedApi();
    const pool = await newPool(api, { is_paused: true });
    const deployment = await deploy(api, pool, "hello");
    const held = await api.createFlowRun(deployment);
    await using proxy = await startReverseProxy(inject("apiUrl"));
    await using worker = await startWorker(pool, { apiUrl: proxy.apiUrl, env });
    await worker.waitForOutput(open, soon.timeoutMs);
    const reads = poolReads(proxy, pool);
    const command = `${process.execPath} -p "'by the new template'"`;
    const base_job_template = { job_configuration: { command }, variables: { properties: {} } };
    await api.updateWorkPool(pool, { base_job_template, is_paused: false });
    await worker.waitForOutput(new RegExp(`submitting flow run '${held.id}'`), soon.timeoutMs);
    await worker.waitForOutput(/^by the new template$/m, soon.timeoutMs);
    expect(poolReads(proxy, pool)).toBe(reads);
  });

  test("on a gateway like Prefect Cloud's, it gives the worker its id", async () => {
    const cloud = { key: "pnu_marked_key_3c1", accountId: randomUUID(), workspaceId: randomUUID() };
    const api = sharedApi();
    const pool = await newPool(api);
    await using gateway = await startReverseProxy(inject("apiUrl"), {
      cloud,
      // No heartbeat over REST is answered, so no other way to an id is left.
      onRequest: ({ path }) => (heartbeat.test(path) ? { status: 503 } : undefined),
    });
    const keys = { PREFECT_CLOUD_API_URL: gateway.cloudApiUrl, PREFECT_API_KEY: cloud.key };
    await using worker = await startWorker(pool, { apiUrl: gateway.apiUrl, env: { ...env, ...keys } });
    await worker.waitForOutput(open, soon.timeoutMs);
    const withId = () => gateway.requests.some(({ headers }) => headers["x-prefect-worker-id"] === gateway.workerId);
    await api.createFlowRun(await deploy(api, pool, "hello", { jobVariables: { command: "true" } }));
    await waitFor(withId, { ...soon, what: "a request with the worker's id" });
  });
});

describe.concurrent("without the worker channel the worker goes on by REST", () => {
  test("when it is refused, as by servers before 3.7.2: once, and without a word", async () => {
    const api = sharedApi();
    const pool = await newPool(api);
    await using proxy = await startReverseProxy(inject("apiUrl"), {
      onUpgrade: ({ path }) => (path.endsWith("/connect") ? 403 : undefined),
    });
    await using worker = await startWorker(pool, { apiUrl: proxy.apiUrl, env: quickly });
    await waitFor(() => proxy.count("POST", heartbeat) >= 4 && poolReads(proxy, pool) >= 3, {
      ...soon,
      what: "four heartbeats and three reads of the work pool",
    });
    expect(proxy.count("UPGRADE", /connect$/)).toBe(1);
    expect(worker.stderr).not.toMatch(/"level":[3-6]0.*worker channel/);
  });

  test("when the work pool is deleted, which it creates again", async () => {
    needsChannel();
    const api = sharedApi();
    const pool = await newPool(api);
    await using proxy = await startReverseProxy(inject("apiUrl"));
    await using worker = await startWorker(pool, { apiUrl: proxy.apiUrl, env: quickly });
    await worker.waitForOutput(open, soon.timeoutMs);
    await api.deleteWorkPool(pool);
    await worker.waitForOutput(/No connection to the worker channel: .*authorization_failed/, soon.timeoutMs);
    const connections = proxy.count("UPGRADE", /connect$/);
    await worker.waitForOutput(new RegExp(`Work pool '${pool}' created`), soon.timeoutMs);
    await heartbeats(api, pool, 2);
    expect(proxy.count("UPGRADE", /connect$/)).toBe(connections);
  });

  test("when the server is down at the start or restarts, until it is back", async () => {
    needsChannel();
    await using home = await makeTemporaryDirectory("lictor-server-");
    const port = await findFreePort();
    await using worker = await startWorker("made-by-hello", {
      apiUrl: `http://127.0.0.1:${port}/api`,
      env: { ...env, PREFECT_CLIENT_MAX_RETRIES: "0" },
      args: ["--type", "process"],
    });
    {
      await using server = await startPrefectServer({ port, home: home.path });
      await logged(worker, open, 1);
      // The next heartbeat over REST is due in half a minute: the hello has created the pool.
      const pool = await prefectApi(server.apiUrl).readWorkPool("made-by-hello");
      expect(Object.keys(pool.base_job_template)).not.toHaveLength(0);
    }
    await using _server = await startPrefectServer({ port, home: home.path });
    await logged(worker, open, 2);
    expect(worker.stderr).not.toMatch(/"level":[3-6]0.*worker channel/);
  });
});

test("a flow run whose cancellation its worker missed, or did not live to see, is ended when the server asks for it", async () => {
  needsPrefect("3.7.2", "cleanups over the worker channel");
  await using server = await startPrefectServer({
    env: {
      PREFECT_SERVER_SERVICES_CANCELLATION_CLEANUP_CANCELLING_TIMEOUT_SECONDS: "1",
      PREFECT_SERVER_WORKER_CHANNEL_CLEANUP_LEASE_SECONDS: "4",
    },
  });
  const api = prefectApi(server.apiUrl);
  const pool = await newPool(api);
  // Neither events nor questions tell the worker of the cancellation.
  await using proxy = await startReverseProxy(server.apiUrl, {
    onUpgrade: ({ path }) => (path === "/events/out" ? 403 : undefined),
    onRequest: ({ path }) => (path === "/flow_runs/filter" ? { status: 200, body: "[]" } : undefined),
  });
  await using worker = await startWorker(pool, {
    apiUrl: proxy.apiUrl,
    env: { ...env, PREFECT_WORKER_QUERY_SECONDS: "1" },
  });
  const { id } = await api.createFlowRun(await deploy(api, pool, "sleep"));
  await worker.waitForOutput(/^ready$/m, 60_000);
  await api.setState(id, "CANCELLING");
  await worker.waitForOutput(/The server gave up waiting for the cancellation of flow run/, 40_000);
  await logged(worker, /"operation":"ack","status":"accepted"/, 1);
  expect(await worker.descendants()).toEqual([]);
  expect((await api.readFlowRun(id)).state_type).toBe("CANCELLED");
  const messages = (await api.readStates(id)).map(({ message }) => message);
  expect(messages).toContain("Flow run cancellation timed out; marked this flow run as Cancelled.");

  const left = await api.createFlowRun(await deploy(api, pool, "sleep"));
  await waitFor(() => worker.stdout.match(/^ready$/gm)?.length === 2, {
    timeoutMs: 60_000,
    what: "the second flow run",
  });
  await waitFor(async () => (await api.readFlowRun(left.id)).infrastructure_pid, { ...soon, what: "its process id" });
  worker.signal("SIGKILL");
  await worker.exited;
  await api.setState(left.id, "CANCELLING");
  await using next = await startWorker(pool, { apiUrl: server.apiUrl, env });
  await next.waitForOutput(/Ended what another worker had left running/, 60_000);
  await logged(next, /"operation":"ack","status":"accepted"/, 1);
  expect(await worker.descendants()).toEqual([]);
  expect((await api.readFlowRun(left.id)).state_type).toBe("CANCELLED");
});
