// Which flow runs a worker takes, how many at a time, and when.
import { describe, expect, inject, test } from "vitest";
import { startReverseProxy } from "../support/reverse-proxy.ts";
import { startWorker } from "../support/start-worker.ts";
import { waitFor } from "../support/wait-for.ts";
import { deploy, newPool, programCommand, sharedApi } from "./deployments.ts";

const QUICK = { command: programCommand("flood-stdout.mjs", "1") };
/** So long between polls that only an event can explain an earlier one. */
const RARE_POLLS = { PREFECT_WORKER_QUERY_SECONDS: "60" };

describe("a worker", () => {
  test("with --limit 2 never has more than two flow runs at a time, and takes all five", async () => {
    const api = sharedApi();
    const pool = await newPool(api);
    const command = `${process.execPath} -e "console.log('begin');setTimeout(()=>console.log('end'),700)"`;
    const deployment = await deploy(api, pool, "hello", { jobVariables: { command } });
    for (let count = 0; count < 5; count++) await api.createFlowRun(deployment);
    await using worker = await startWorker(pool, { apiUrl: inject("apiUrl"), args: ["--limit", "2"] });
    await waitFor(() => worker.stdout.match(/^end$/gm)?.length === 5, { timeoutMs: 40_000, what: "five ends" });
    let running = 0;
    let most = 0;
    for (const [word] of worker.stdout.matchAll(/^(begin|end)$/gm)) {
      running += word === "begin" ? 1 : -1;
      most = Math.max(most, running);
    }
    expect(most).toBe(2);
  });

  test("shares 40 flow runs with a second worker so that each is executed exactly once", async () => {
    const api = sharedApi();
    const pool = await newPool(api);
    const command = `${process.execPath} -p "'ran '+process.env.PREFECT__FLOW_RUN_ID"`;
    const deployment = await deploy(api, pool, "hello", { jobVariables: { command } });
    await using first = await startWorker(pool, { apiUrl: inject("apiUrl"), name: "first" });
    await using second = await startWorker(pool, { apiUrl: inject("apiUrl"), name: "second" });
    const ids: string[] = [];
    for (let count = 0; count < 40; count++) ids.push((await api.createFlowRun(deployment)).id);
    const ran = (): string[] =>
      [first, second].flatMap((worker) => [...worker.stdout.matchAll(/^ran (.+)$/gm)].map((match) => match[1] ?? ""));
    await waitFor(() => ran().length >= 40, { timeoutMs: 160_000, what: "40 flow runs to be executed" });
    for (const worker of [first, second]) worker.signal("SIGTERM");
    expect(await first.exited).toEqual({ code: 0, signal: null });
    expect(await second.exited).toEqual({ code: 0, signal: null });
    expect(ran().sort()).toEqual(ids.sort());
  });

  test("takes flow runs of its work queues only", async () => {
    const api = sharedApi();
    const pool = await newPool(api);
    await api.createWorkQueue(pool, "mine");
    await api.createWorkQueue(pool, "other");
    const mine = await deploy(api, pool, "hello", { workQueue: "mine", jobVariables: QUICK });
    const other = await deploy(api, pool, "hello", { workQueue: "other", jobVariables: QUICK });
    const left = await api.createFlowRun(other);
    const taken = await api.createFlowRun(mine);
    await using worker = await startWorker(pool, { apiUrl: inject("apiUrl"), args: ["--work-queue", "mine"] });
    await worker.waitForOutput(new RegExp(`submitting flow run '${taken.id}'`), 20_000);
    const later = await api.createFlowRun(mine);
    await worker.waitForOutput(new RegExp(`submitting flow run '${later.id}'`), 20_000);
    expect((await api.readFlowRun(left.id)).state_type).toBe("SCHEDULED");
  });

  test("takes nothing from a paused pool, says so, and goes on once it is resumed", async () => {
    const api = sharedApi();
    const pool = await newPool(api, { is_paused: true });
    const deployment = await deploy(api, pool, "hello", { jobVariables: QUICK });
    const held = await api.createFlowRun(deployment);
    await using proxy = await startReverseProxy(inject("apiUrl"));
    await using worker = await startWorker(pool, {
      apiUrl: proxy.apiUrl,
      env: { PREFECT_WORKER_QUERY_SECONDS: "0.5" },
    });
    await worker.waitForOutput(/The work pool '.*' is currently paused\./, 20_000);
    await waitFor(() => proxy.count("POST", /get_scheduled_flow_runs$/) >= 3, {
      timeoutMs: 10_000,
      what: "three polls",
    });
    expect((await api.readFlowRun(held.id)).state_type).toBe("SCHEDULED");
    await api.updateWorkPool(pool, { is_paused: false });
    await worker.waitForOutput(new RegExp(`submitting flow run '${held.id}'`), 20_000);
  });

  test("claims a new flow run by its event, long before the next poll", async () => {
    const api = sharedApi();
    const pool = await newPool(api);
    const deployment = await deploy(api, pool, "hello", { jobVariables: QUICK });
    await using worker = await startWorker(pool, { apiUrl: inject("apiUrl"), env: RARE_POLLS });
    const created = await api.createFlowRun(deployment);
    await worker.waitForOutput(new RegExp(`submitting flow run '${created.id}'`), 15_000);
  });

  test("claims a flow run scheduled for later at its time minus prefetch", async () => {
    const api = sharedApi();
    const pool = await newPool(api);
    const deployment = await deploy(api, pool, "hello", { jobVariables: QUICK });
    await using worker = await startWorker(pool, {
      apiUrl: inject("apiUrl"),
      env: { ...RARE_POLLS, PREFECT_LOGGING_LEVEL: "DEBUG" },
      args: ["--prefetch-seconds", "2"],
    });
    // What is scheduled before the server has set up the subscription is left to the polls.
    await waitFor(() => (worker.stderr.match(/"reason":"connected","msg":"poll"/g) ?? []).length === 2, {
      timeoutMs: 20_000,
      what: "the second look after the events socket is open",
    });
    const scheduledTime = new Date(Date.now() + 5_000);
    const created = await api.createFlowRun(deployment, { scheduledTime });
    await worker.waitForOutput(new RegExp(`submitting flow run '${created.id}'`), 15_000);
    const pending = await waitFor(
      async () => (await api.readStates(created.id)).find((state) => state.type === "PENDING"),
      { timeoutMs: 10_000, what: "the claim" },
    );
    const pendingAt = Date.parse(pending.timestamp ?? "");
    expect(pendingAt).toBeGreaterThanOrEqual(scheduledTime.getTime() - 2_000);
    expect(pendingAt).toBeLessThan(scheduledTime.getTime());
  });

  test("claims what no event tells of at its time minus prefetch, long before the next poll", async () => {
    const api = sharedApi();
    const pool = await newPool(api);
    const deployment = await deploy(api, pool, "hello", { jobVariables: QUICK });
    await using proxy = await startReverseProxy(inject("apiUrl"), { onUpgrade: () => 403 });
    const scheduledTime = new Date(Date.now() + 25_000);
    const created = await api.createFlowRun(deployment, { scheduledTime });
    await using worker = await startWorker(pool, {
      apiUrl: proxy.apiUrl,
      env: RARE_POLLS,
      args: ["--prefetch-seconds", "3"],
    });
    await worker.waitForOutput(new RegExp(`submitting flow run '${created.id}'`), 45_000);
    const states = await waitFor(
      async () => {
        const read = await api.readStates(created.id);
        return read.some(({ type }) => type === "PENDING") ? read : undefined;
      },
      { timeoutMs: 10_000, what: "the claim" },
    );
    const pendingAt = Date.parse(states.find(({ type }) => type === "PENDING")?.timestamp ?? "");
    expect(pendingAt).toBeGreaterThanOrEqual(scheduledTime.getTime() - 3_000);
    expect(pendingAt).toBeLessThan(scheduledTime.getTime());
    expect(proxy.count("POST", /\/get_scheduled_flow_runs$/)).toBe(2);
  });

  test("finds flow runs by polling when the events socket is refused, and warns once", async () => {
    const api = sharedApi();
    const pool = await newPool(api);
    const deployment = await deploy(api, pool, "hello", { jobVariables: QUICK });
    await using proxy = await startReverseProxy(inject("apiUrl"), { onUpgrade: () => 403 });
    await using worker = await startWorker(pool, {
      apiUrl: proxy.apiUrl,
      env: { PREFECT_WORKER_QUERY_SECONDS: "0.5" },
    });
    await waitFor(() => proxy.count("UPGRADE", "/events/out") >= 2, { timeoutMs: 15_000, what: "a second attempt" });
    const created = await api.createFlowRun(deployment);
    await worker.waitForOutput(new RegExp(`submitting flow run '${created.id}'`), 15_000);
    expect(worker.stderr.match(/No connection to the events stream \(\/events\/out\)/g)).toHaveLength(1);
    expect(worker.stderr).toContain("flow runs are found by polling");
  });

  test("cancels a flow run whose deployment was deleted, which no worker can claim", async () => {
    const api = sharedApi();
    const pool = await newPool(api);
    const deployment = await deploy(api, pool, "hello", { jobVariables: QUICK });
    const { id } = await api.createFlowRun(deployment);
    // One that has run before is not deleted with its deployment.
    await api.setState(id, "RUNNING", { force: true });
    await api.setState(id, "SCHEDULED", { force: true });
    await api.request("DELETE", `/deployments/${deployment}`);
    await using worker = await startWorker(pool, { apiUrl: inject("apiUrl"), args: ["--limit", "1"] });
    const { flowRun } = await api.waitForState(id, ["CANCELLED"], 30_000);
    expect(flowRun.state?.message).toBe(`Deployment ${deployment} no longer exists, cancelled run.`);
    worker.signal("SIGTERM");
    expect((await worker.exited).code).toBe(0);
    expect(worker.stderr.match(/no longer exists, cancelled run\./g)).toHaveLength(1);
  });

  test("goes on where announced flow runs cannot be looked up, as on servers that fail over one of them", async () => {
    const api = sharedApi();
    const pool = await newPool(api);
    const deployment = await deploy(api, pool, "hello", { jobVariables: QUICK });
    await using proxy = await startReverseProxy(inject("apiUrl"), {
      onRequest: ({ path }) => (path === "/flow_runs/filter" ? { status: 500, body: "{}" } : undefined),
    });
    await using worker = await startWorker(pool, {
      apiUrl: proxy.apiUrl,
      env: { ...RARE_POLLS, PREFECT_LOGGING_LEVEL: "DEBUG" },
    });
    await worker.waitForOutput(/Connected to the events stream/, 20_000);
    await api.createFlowRun(deployment, { scheduledTime: new Date(Date.now() + 3600_000) });
    await worker.waitForOutput(/announced flow runs could not be looked up/, 20_000);
    const lookedUp = proxy.count("POST", "/flow_runs/filter");
    const next = await api.createFlowRun(deployment);
    await worker.waitForOutput(new RegExp(`submitting flow run '${next.id}'`), 20_000);
    expect(proxy.count("POST", "/flow_runs/filter")).toBeLessThanOrEqual(lookedUp + 2);
    expect(worker.stderr).not.toContain("The API is away");
  });

  test("ends a flow run as Crashed that it has claimed and cannot read about", async () => {
    const api = sharedApi();
    const pool = await newPool(api);
    const deployment = await deploy(api, pool, "hello", { jobVariables: QUICK });
    const forbidden = { status: 403, headers: { "content-type": "application/json" }, body: "{}" };
    await using proxy = await startReverseProxy(inject("apiUrl"), {
      onRequest: ({ path }) => (path.startsWith("/flows/") ? forbidden : undefined),
    });
    await using _worker = await startWorker(pool, { apiUrl: proxy.apiUrl });
    const { id } = await api.createFlowRun(deployment);
    const { flowRun } = await api.waitForState(id, ["CRASHED"], 30_000);
    expect(flowRun.state?.message).toMatch(/^Failed to submit flow run to infrastructure: .*403/);
  });
});
