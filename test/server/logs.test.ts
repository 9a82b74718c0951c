// The worker's own log records as the server has them.
import { randomUUID } from "node:crypto";
import { describe, expect, inject, test } from "vitest";
import type { LogRecord } from "../../src/api/wire.ts";
import { startLictor } from "../support/lictor.ts";
import { needsPrefect } from "../support/prefect-release.ts";
import { type ReverseProxy, startReverseProxy } from "../support/reverse-proxy.ts";
import { startWorker } from "../support/start-worker.ts";
import { waitFor } from "../support/wait-for.ts";
import { deploy, newPool, sharedApi } from "./deployments.ts";

const soon = { timeoutMs: 60_000 };
/** The system's answer to it is logged with the whole path. */
const longCommand = `/no/such/program/${"x".repeat(2000)}`;

/** What a worker has sent through the proxy to `POST /logs/`. */
function shipped({ requests }: ReverseProxy): LogRecord[] {
  const bodies = requests.filter(({ method, path }) => method === "POST" && path === "/logs/");
  return bodies.flatMap(({ body }) => JSON.parse(body) as LogRecord[]);
}

describe("log records of a worker", () => {
  test("about a flow run are there when it has stopped, also those of the last moment", async () => {
    const api = sharedApi();
    const pool = await newPool(api);
    const { id } = await api.createFlowRun(await deploy(api, pool, "hello", { jobVariables: { command: "true" } }));
    await using worker = await startWorker(pool, {
      apiUrl: inject("apiUrl"),
      args: ["--run-once"],
      env: { PREFECT_LOGGING_TO_API_BATCH_INTERVAL: "3600" },
    });
    expect(await worker.exited).toEqual({ code: 0, signal: null });
    const logs = await api.readLogs(id);
    expect(logs.map(({ name, level, message }) => [name, level, message])).toEqual([
      ["prefect.flow_runs.worker", 20, `Worker 'test-worker' submitting flow run '${id}'`],
      ["prefect.flow_runs.worker", 20, expect.stringMatching(/^Flow run '.*' submitted to infrastructure$/)],
    ]);
  });

  test("that are too long are cut to the configured size and marked", async () => {
    const api = sharedApi();
    const pool = await newPool(api);
    const { id } = await api.createFlowRun(
      await deploy(api, pool, "hello", { jobVariables: { command: longCommand } }),
    );
    await using proxy = await startReverseProxy(inject("apiUrl"));
    await using worker = await startWorker(pool, {
      apiUrl: proxy.apiUrl,
      args: ["--run-once"],
      env: { PREFECT_LOGGING_TO_API_MAX_LOG_SIZE: "700", PREFECT_LOGGING_TO_API_BATCH_SIZE: "2000" },
    });
    await worker.exited;
    const cut = (await api.readLogs(id)).filter(({ message }) => message.endsWith("... [truncated]"));
    expect(cut.length).toBeGreaterThan(0);
    for (const record of shipped(proxy)) expect(Buffer.byteLength(JSON.stringify(record))).toBeLessThanOrEqual(700);
  });

  test("are not sent where PREFECT_LOGGING_TO_API_ENABLED is false", async () => {
    const api = sharedApi();
    const pool = await newPool(api);
    const { id } = await api.createFlowRun(await deploy(api, pool, "hello", { jobVariables: { command: "true" } }));
    await using proxy = await startReverseProxy(inject("apiUrl"));
    await using worker = await startWorker(pool, {
      apiUrl: proxy.apiUrl,
      args: ["--run-once"],
      env: { PREFECT_LOGGING_TO_API_ENABLED: "false" },
    });
    await worker.exited;
    expect(worker.stderr).toContain(`submitting flow run '${id}'`);
    expect(proxy.count("POST", "/logs/")).toBe(0);
  });

  test("wait for a server that does not take them, and arrive when it does", async () => {
    const api = sharedApi();
    const pool = await newPool(api);
    let away = true;
    await using proxy = await startReverseProxy(inject("apiUrl"), {
      onRequest: ({ path }) => (path === "/logs/" && away ? { status: 503, body: "{}" } : undefined),
    });
    await using worker = await startWorker(pool, {
      apiUrl: proxy.apiUrl,
      env: { PREFECT_LOGGING_TO_API_BATCH_INTERVAL: "0.2", PREFECT_CLIENT_MAX_RETRIES: "0" },
    });
    const { id } = await api.createFlowRun(await deploy(api, pool, "hello", { jobVariables: { command: "true" } }));
    await worker.waitForOutput(/Log records wait because the API does not take them: .*503/, soon.timeoutMs);
    away = false;
    await waitFor(async () => (await api.readLogs(id)).length === 2, { ...soon, what: "both records" });
  });

  test("on a gateway like Prefect Cloud's carry the worker's id, are about the worker too, and keep to Cloud's size", async () => {
    needsPrefect("3.7.2", "the worker channel");
    const cloud = { key: `pnu_${randomUUID()}`, accountId: randomUUID(), workspaceId: randomUUID() };
    const api = sharedApi();
    const pool = await newPool(api);
    await using gateway = await startReverseProxy(inject("apiUrl"), { cloud });
    // A key alone: that it belongs to Cloud shows only once its workspace has been looked up.
    await using worker = await startLictor(
      ["worker", "start", "--pool", pool, "--name", "w", "--python", inject("python")],
      {
        env: {
          PREFECT_CLOUD_API_URL: gateway.cloudApiUrl,
          PREFECT_API_KEY: cloud.key,
          PREFECT_CLOUD_MAX_LOG_SIZE: "800",
          PREFECT_LOGGING_LEVEL: "DEBUG",
        },
      },
    );
    // With the worker channel comes the worker's id.
    await worker.waitForOutput(/Connected to the worker channel/, soon.timeoutMs);
    const deployment = await deploy(api, pool, "hello", { jobVariables: { command: longCommand } });
    const { id } = await api.createFlowRun(deployment);
    await worker.waitForOutput(/Reported flow run '.*' as crashed/, soon.timeoutMs);
    worker.signal("SIGTERM");
    await worker.exited;
    const records = shipped(gateway);
    expect(records.filter(({ message }) => message.endsWith("... [truncated]")).length).toBeGreaterThan(0);
    for (const record of records) expect(Buffer.byteLength(JSON.stringify(record))).toBeLessThanOrEqual(800);
    const ofWorker = records.filter(({ name }) => name === "prefect.workers.process.w");
    expect(ofWorker.length).toBeGreaterThan(0);
    for (const record of ofWorker) expect(record).toMatchObject({ flow_run_id: null, worker_id: gateway.workerId });
    const ofFlowRun = records.filter((record) => record.flow_run_id === id && record.worker_id === gateway.workerId);
    const uiUrl = gateway.apiUrl.replace("/api/accounts/", "/account/").replace("/workspaces/", "/workspace/");
    expect(ofFlowRun.map(({ message }) => message)).toContain(
      `Running on worker id: ${gateway.workerId}. See worker logs here: ${uiUrl}/work-pools/work-pool/${pool}/worker/${gateway.workerId}`,
    );
  });
});

/** The largest body that nginx accepts by default. */
const usualLimitBytes = 1024 * 1024;

/** A proxy with the limit of nginx. */
function startLimitedProxy(): Promise<ReverseProxy> {
  return startReverseProxy(inject("apiUrl"), {
    onRequest: ({ body }) => (Buffer.byteLength(body) > usualLimitBytes ? { status: 413, body: "" } : undefined),
  });
}

/** One batch until the end of the engine, unless a batch is full before. */
const atTheEnd = { PREFECT_LOGGING_TO_API_BATCH_INTERVAL: "600" };

function bodySizes({ requests }: ReverseProxy): number[] {
  return requests.filter(({ path }) => path === "/logs/").map(({ body }) => Buffer.byteLength(body));
}

describe("behind a proxy that accepts 1 MiB", () => {
  test("the log records of an engine arrive", async () => {
    const api = sharedApi();
    const pool = await newPool(api);
    await using proxy = await startLimitedProxy();
    await using _worker = await startWorker(pool, { apiUrl: proxy.apiUrl });
    const { id } = await api.createFlowRun(await deploy(api, pool, "log_much", { jobVariables: { env: atTheEnd } }));
    await api.waitForState(id, ["COMPLETED"], 120_000);
    const count = () => shipped(proxy).filter(({ message }) => message.length === 10_000).length;
    await waitFor(() => count() === 300, { ...soon, what: "the log records" });
    expect(bodySizes(proxy).filter((bytes) => bytes > usualLimitBytes)).toEqual([]);
  }, 240_000);

  test("an engine keeps the size that the user set", async () => {
    const api = sharedApi();
    const pool = await newPool(api);
    await using proxy = await startLimitedProxy();
    await using _worker = await startWorker(pool, { apiUrl: proxy.apiUrl });
    const env = {
      ...atTheEnd,
      PREFECT_LOGGING_TO_API_BATCH_SIZE: "8000000",
      PREFECT_LOGGING_TO_API_MAX_LOG_SIZE: "2000000",
    };
    const { id } = await api.createFlowRun(await deploy(api, pool, "log_much", { jobVariables: { env } }));
    await api.waitForState(id, ["COMPLETED"], 120_000);
    const isRefused = () => bodySizes(proxy).some((bytes) => bytes > usualLimitBytes);
    await waitFor(isRefused, { ...soon, what: "a large batch" });
  }, 240_000);

  test("the records of the worker are sent in batches of 1 MB at most", async () => {
    const api = sharedApi();
    const pool = await newPool(api);
    let away = true;
    await using proxy = await startReverseProxy(inject("apiUrl"), {
      onRequest: ({ path }) => (path === "/logs/" && away ? { status: 503, body: "{}" } : undefined),
    });
    await using worker = await startWorker(pool, { apiUrl: proxy.apiUrl, env: { PREFECT_CLIENT_MAX_RETRIES: "0" } });
    const deployment = await deploy(api, pool, "hello", { jobVariables: { command: "true" } });
    const name = "n".repeat(200_000);
    for (let run = 0; run < 10; run++) await api.createFlowRun(deployment, { name });
    const submitted = () => worker.stderr.match(/nnn' submitted to infrastructure/g)?.length === 10;
    await waitFor(submitted, { ...soon, what: "ten flow runs" });
    away = false;
    worker.signal("SIGTERM");
    await worker.exited;
    const accepted = bodySizes(proxy);
    expect(Math.max(...accepted)).toBeGreaterThan(700_000);
    expect(Math.max(...accepted)).toBeLessThanOrEqual(1_000_000);
  });
});
