// What becomes of running flow runs when the worker is told to stop, once, twice and three times.
import { describe, expect, inject, test } from "vitest";
import { startWorker } from "../support/start-worker.ts";
import { waitFor } from "../support/wait-for.ts";
import { deploy, newPool, programCommand, sharedApi } from "./deployments.ts";

describe("a worker with a running flow run", () => {
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
    worker.signal("SIGTERM");
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
    worker.signal("SIGINT");
    await worker.waitForOutput(/^ignored$/m, 20_000);
    worker.signal("SIGINT");
    expect(await worker.exited).toEqual({ code: 130, signal: null });
    await waitFor(async () => (await worker.descendants()).length === 0, {
      timeoutMs: 20_000,
      what: "no process left",
    });
  });
});
