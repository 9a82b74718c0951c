// What becomes of running flow runs when the worker is told to stop, once, twice and three times.
import { describe, expect, inject, test } from "vitest";
import { signalUntil } from "../support/program-output.ts";
import { startWorker } from "../support/start-worker.ts";
import { waitFor } from "../support/wait-for.ts";
import { deploy, newPool, programCommand, sharedApi } from "./deployments.ts";

describe.concurrent("a worker with a running flow run", () => {
  test("told to stop once lets it complete, takes no further one, and exits with 0", async () => {
    const api = sharedApi();
    const pool = await newPool(api);
    const deployment = await deploy(api, pool, "sleep");
    await using worker = await startWorker(pool, { apiUrl: inject("apiUrl") });
    const running = await api.createFlowRun(deployment, { parameters: { seconds: 3 } });
    await worker.waitForOutput(/^ready$/m, 60_000);
    worker.signal("SIGTERM");
    await worker.waitForOutput(/Waiting for 1 flow run\(s\) to end/, 20_000);
    const late = await api.createFlowRun(deployment);
    expect(await worker.exited).toEqual({ code: 0, signal: null });
    expect((await api.readFlowRun(running.id)).state_type).toBe("COMPLETED");
    expect((await api.readFlowRun(late.id)).state_type).toBe("SCHEDULED");
    expect(worker.stdout).toContain("Worker 'test-worker' stopped!");
  });

  test("told to stop twice ends it, leaves none Running and no process, and exits with 0", async () => {
    const api = sharedApi();
    const pool = await newPool(api);
    const flow = await deploy(api, pool, "sleep");
    const other = await deploy(api, pool, "hello", {
      jobVariables: { command: programCommand("leave-grandchild.mjs") },
    });
    const plain = await deploy(api, pool, "hello", {
      jobVariables: { command: `${process.execPath} -e "console.log('plain');setInterval(()=>0,1000)"` },
    });
    await using worker = await startWorker(pool, { apiUrl: inject("apiUrl") });
    const engine = await api.createFlowRun(flow, { parameters: { seconds: 120 } });
    await api.createFlowRun(other);
    const command = await api.createFlowRun(plain);
    await worker.waitForOutput(/^ready$/m, 60_000);
    await worker.waitForOutput(/^plain$/m, 20_000);
    worker.signal("SIGTERM");
    await worker.waitForOutput(/Waiting for 2 flow run\(s\) to end/, 20_000);
    await signalUntil(worker, "SIGTERM", /Ending all flow runs/);
    expect(await worker.exited).toEqual({ code: 0, signal: null });
    const ends = await Promise.all([engine, command].map(({ id }) => api.readFlowRun(id)));
    expect(ends.map(({ state_type }) => state_type)).toEqual(["CRASHED", "CRASHED"]);
    expect(ends[1]?.state?.message).toBe(
      "Worker 'test-worker' received a second SIGTERM and ended the flow run's process.",
    );
  });

  test("told to stop three times kills even what ignores SIGTERM, and leaves at once", async () => {
    const api = sharedApi();
    const pool = await newPool(api);
    const stubborn = await deploy(api, pool, "hello", {
      jobVariables: { command: programCommand("ignore-sigterm.mjs") },
    });
    await using worker = await startWorker(pool, { apiUrl: inject("apiUrl") });
    await api.createFlowRun(stubborn);
    await worker.waitForOutput(/^ready$/m, 20_000);
    worker.signal("SIGINT");
    await worker.waitForOutput(/Waiting for 1 flow run\(s\) to end/, 20_000);
    await signalUntil(worker, "SIGTERM", /Ending all flow runs/);
    await worker.waitForOutput(/^ignored$/m, 20_000);
    await signalUntil(worker, "SIGINT", /Leaving at once/);
    expect(await worker.exited).toEqual({ code: 130, signal: null });
    await waitFor(async () => (await worker.descendants()).length === 0, {
      timeoutMs: 20_000,
      what: "no process left",
    });
  });

  test.each(["SIGHUP", "SIGQUIT"] as const)(
    "survives %s, as of a closed terminal, and so does the flow run",
    async (signal) => {
      const api = sharedApi();
      const pool = await newPool(api);
      await using worker = await startWorker(pool, { apiUrl: inject("apiUrl") });
      const running = await api.createFlowRun(await deploy(api, pool, "sleep"), { parameters: { seconds: 3 } });
      await worker.waitForOutput(/^ready$/m, 60_000);
      worker.signal(signal);
      await worker.waitForOutput(new RegExp(`Received ${signal}\\. Taking no new flow runs`), 20_000);
      expect(await worker.exited).toEqual({ code: 0, signal: null });
      expect((await api.readFlowRun(running.id)).state_type).toBe("COMPLETED");
    },
  );

  test("takes one Ctrl-C that is delivered twice for one wish", async () => {
    const api = sharedApi();
    const pool = await newPool(api);
    await using worker = await startWorker(pool, { apiUrl: inject("apiUrl") });
    const running = await api.createFlowRun(await deploy(api, pool, "sleep"), { parameters: { seconds: 3 } });
    await worker.waitForOutput(/^ready$/m, 60_000);
    worker.signal("SIGINT");
    await worker.waitForOutput(/Waiting for 1 flow run\(s\) to end/, 20_000);
    // As a terminal does when it is closed, and a supervisor right after SIGTERM.
    for (const again of ["SIGINT", "SIGHUP"] as const) worker.signal(again);
    expect(await worker.exited).toEqual({ code: 0, signal: null });
    expect((await api.readFlowRun(running.id)).state_type).toBe("COMPLETED");
    expect(worker.stderr).not.toContain("Ending all flow runs");
  });

  test("ends it when the drain timeout is over, and says so in its state", async () => {
    const api = sharedApi();
    const pool = await newPool(api);
    await using worker = await startWorker(pool, { apiUrl: inject("apiUrl"), args: ["--drain-timeout", "1"] });
    const command = `${process.execPath} -e "console.log('plain');setInterval(()=>0,1000)"`;
    const deployment = await deploy(api, pool, "hello", { jobVariables: { command } });
    const running = await api.createFlowRun(deployment);
    await worker.waitForOutput(/^plain$/m, 60_000);
    worker.signal("SIGTERM");
    expect(await worker.exited).toEqual({ code: 0, signal: null });
    expect((await api.readFlowRun(running.id)).state).toMatchObject({
      type: "CRASHED",
      message: "Worker 'test-worker' reached its drain timeout of 1 s and ended the flow run's process.",
    });
  });

  test("drains, and does not orphan it, after an error that nobody caught", async () => {
    const api = sharedApi();
    const pool = await newPool(api);
    const throwing = "process.on('SIGUSR2', () => setImmediate(() => { throw new Error('boom') }))";
    const env = { NODE_OPTIONS: `--import data:text/javascript,${encodeURIComponent(throwing)}` };
    await using worker = await startWorker(pool, { apiUrl: inject("apiUrl"), env });
    const running = await api.createFlowRun(await deploy(api, pool, "sleep"), { parameters: { seconds: 3 } });
    await worker.waitForOutput(/^ready$/m, 60_000);
    worker.signal("SIGUSR2");
    await worker.waitForOutput(/boom.*An error that nobody caught/, 20_000);
    expect(await worker.exited).toEqual({ code: 1, signal: null });
    expect((await api.readFlowRun(running.id)).state_type).toBe("COMPLETED");
  });

  test("keeps watching it when its work pool is deleted", async () => {
    const api = sharedApi();
    const pool = await newPool(api);
    await using worker = await startWorker(pool, { apiUrl: inject("apiUrl"), args: ["--limit", "1"] });
    const running = await api.createFlowRun(await deploy(api, pool, "sleep"), { parameters: { seconds: 6 } });
    await worker.waitForOutput(/^ready$/m, 60_000);
    await api.request("DELETE", `/work_pools/${pool}`);
    worker.signal("SIGTERM");
    await worker.waitForOutput(/Waiting for 1 flow run\(s\) to end/, 20_000);
    expect(await worker.exited).toEqual({ code: 0, signal: null });
    expect((await api.readFlowRun(running.id)).state_type).toBe("COMPLETED");
  });
});
