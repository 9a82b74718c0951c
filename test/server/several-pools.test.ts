// One program that serves several work pools.
import { once } from "node:events";
import { expect, inject, test } from "vitest";
import type { Status } from "../../src/status/page/status-json.ts";
import { findFreePort } from "../support/free-port.ts";
import { runLictor } from "../support/lictor.ts";
import { startReverseProxy } from "../support/reverse-proxy.ts";
import { startWorker } from "../support/start-worker.ts";
import { waitFor } from "../support/wait-for.ts";
import { deploy, newPool, sharedApi } from "./deployments.ts";

const soon = { timeoutMs: 60_000 };

test.concurrent("serves two pools at once, with one limit over both, and its status shows each", async () => {
  const api = sharedApi();
  const [one, other] = [await newPool(api), await newPool(api)];
  const port = await findFreePort();
  await using worker = await startWorker(one, {
    apiUrl: inject("apiUrl"),
    args: ["--pool", other, "--limit", "1", "--with-healthcheck"],
    env: { PREFECT_WORKER_WEBSERVER_PORT: String(port) },
  });
  const sleeping = await deploy(api, one, "sleep");
  const hello = await deploy(api, other, "hello");
  const first = await api.createFlowRun(sleeping, { parameters: { seconds: 4 } });
  await worker.waitForOutput(/^ready$/m, soon.timeoutMs);
  const readStatus = async () => (await (await fetch(`http://127.0.0.1:${port}/status.json`)).json()) as Status;
  const status = await readStatus();
  const second = await api.createFlowRun(hello);
  expect(status.host.slots).toEqual({ used: 1, limit: 1 });
  expect(status.workers.map(({ workPool, type }) => [workPool, type])).toEqual([
    [one, "process"],
    [other, "process"],
  ]);
  // The free slot of one pool is a reason to poll the other.
  await api.waitForState(first.id, ["COMPLETED"], soon.timeoutMs);
  const { flowRun } = await api.waitForState(second.id, ["COMPLETED"], soon.timeoutMs);
  const { flowRun: ended } = await api.waitForState(first.id, ["COMPLETED"], soon.timeoutMs);
  expect(Date.parse(flowRun.start_time ?? "")).toBeGreaterThanOrEqual(Date.parse(ended.state?.timestamp ?? ""));
  const isClaimed = async () => (await readStatus()).workers.map(({ claimed }) => claimed).join() === "1,1";
  await waitFor(isClaimed, { ...soon, what: "one flow run claimed in each pool" });
  // A busy server may refuse a heartbeat. The next one comes half a minute later.
  const isKnown = async (pool: string) =>
    (await api.readWorkers(pool)).map(({ name }) => name).join() === "test-worker";
  for (const pool of [one, other]) await waitFor(() => isKnown(pool), { ...soon, what: "the worker in its pool" });

  worker.signal("SIGTERM");
  expect(await worker.exited).toEqual({ code: 0, signal: null });
});

const notAllowed = { status: 403, headers: { "content-type": "application/json" }, body: '{"detail":"not allowed"}' };

test.concurrent("drains all pools at once, and says so, when the server refuses one of them from the start", async () => {
  const api = sharedApi();
  const [one, refused] = [await newPool(api), await newPool(api)];
  const isRunning = new AbortController();
  await using proxy = await startReverseProxy(inject("apiUrl"), {
    onRequest: async ({ path }) => {
      if (!path.includes(`${refused}/get_scheduled_flow_runs`)) return undefined;
      // The first poll is refused only when there is a flow run to wait for.
      if (!isRunning.signal.aborted) await once(isRunning.signal, "abort");
      return notAllowed;
    },
  });
  await using worker = await startWorker(one, { apiUrl: proxy.apiUrl, args: ["--pool", refused] });
  const running = await api.createFlowRun(await deploy(api, one, "sleep"), { parameters: { seconds: 4 } });
  await worker.waitForOutput(/^ready$/m, soon.timeoutMs);
  isRunning.abort();
  await worker.waitForOutput(/not allowed.*A worker has failed\. Taking no new flow runs/, 20_000);
  expect(await worker.exited).toEqual({ code: 1, signal: null });
  expect((await api.readFlowRun(running.id)).state_type).toBe("COMPLETED");
});

test.concurrent("goes on with all pools when the server refuses one of them later", async () => {
  const api = sharedApi();
  const [one, refused] = [await newPool(api), await newPool(api)];
  let isRefused = false;
  await using proxy = await startReverseProxy(inject("apiUrl"), {
    onRequest: ({ path }) =>
      isRefused && path.includes(`${refused}/get_scheduled_flow_runs`) ? notAllowed : undefined,
  });
  await using worker = await startWorker(one, {
    apiUrl: proxy.apiUrl,
    args: ["--pool", refused],
    env: { PREFECT_WORKER_QUERY_SECONDS: "1" },
  });
  await waitFor(() => proxy.count("POST", `/work_pools/${refused}/get_scheduled_flow_runs`) > 0, {
    ...soon,
    what: "a poll",
  });
  isRefused = true;
  await worker.waitForOutput(new RegExp(`The API refuses polls of work pool '${refused}'.*not allowed`), 30_000);
  const ofOne = await api.createFlowRun(await deploy(api, one, "hello"));
  await api.waitForState(ofOne.id, ["COMPLETED"], soon.timeoutMs);
  const ofOther = await api.createFlowRun(await deploy(api, refused, "hello"));
  isRefused = false;
  await api.waitForState(ofOther.id, ["COMPLETED"], soon.timeoutMs);
  await worker.waitForOutput(/The API responds again/, 20_000);
});

test.concurrent("claims the flow runs of all pools by the events of one subscription", async () => {
  const api = sharedApi();
  const pools = await Promise.all(Array.from({ length: 3 }, () => newPool(api)));
  const [first = "", ...others] = pools;
  await using proxy = await startReverseProxy(inject("apiUrl"));
  await using worker = await startWorker(first, {
    apiUrl: proxy.apiUrl,
    args: others.flatMap((pool) => ["--pool", pool]),
    env: { PREFECT_WORKER_QUERY_SECONDS: "600" },
  });
  const isOpen = async () => {
    const { stdout } = await runLictor(["worker", "status", "--json"], {
      env: { LICTOR_STATE_DIR: `${worker.home}/.prefect/lictor` },
    });
    const [status] = JSON.parse(stdout) as Status[];
    return status?.workers.every(({ connections }) => connections?.eventsOut);
  };
  await waitFor(isOpen, { ...soon, what: "the subscription to all pools" });
  // A subscription is made anew for workers that come later.
  expect(proxy.count("UPGRADE", "/events/out")).toBeLessThanOrEqual(2);
  // The server may miss events while it sets the subscription up, and the worker polls after that.
  await new Promise((resolve) => setTimeout(resolve, 2_000));
  for (const pool of pools) {
    const command = `${process.execPath} -e 0`;
    const { id } = await api.createFlowRun(await deploy(api, pool, "hello", { jobVariables: { command } }));
    await api.waitForState(id, ["PENDING"], soon.timeoutMs);
  }
});

test.concurrent("takes pool/queue for a queue of one pool", async () => {
  const api = sharedApi();
  const [one, other] = [await newPool(api), await newPool(api)];
  await api.request("POST", `/work_pools/${one}/queues`, { name: "high" });
  await using worker = await startWorker(one, {
    apiUrl: inject("apiUrl"),
    args: ["--pool", other, "--work-queue", `${one}/high`],
  });
  const low = await api.createFlowRun(await deploy(api, one, "hello"));
  const free = await api.createFlowRun(await deploy(api, other, "hello"));
  await api.waitForState(free.id, ["COMPLETED"], soon.timeoutMs);
  expect((await api.readFlowRun(low.id)).state_type).toBe("SCHEDULED");
  expect(worker.stderr).not.toContain(`submitting flow run '${low.id}'`);
});

test.concurrent("refuses a queue of a pool that is not given", async () => {
  const args = ["worker", "start", "--pool", "a", "--work-queue", "b/high"];
  const { code, stderr } = await runLictor(args, { env: { PREFECT_API_URL: inject("apiUrl") } });
  expect(code).toBe(1);
  expect(stderr).toBe("Work queue 'b/high' is of a pool that is not given: add --pool b.\n");
});
