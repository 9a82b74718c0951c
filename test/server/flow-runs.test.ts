// What becomes of a flow run: the engine's verdict stands, and where it left none, the worker's does.
import { describe, expect, inject, test } from "vitest";
import { isPrefectSince } from "../support/prefect-release.ts";
import { startWorker } from "../support/start-worker.ts";
import { waitFor } from "../support/wait-for.ts";
import { claimedStates, deploy, newPool, sharedApi } from "./deployments.ts";

const END_TIMEOUT_MS = 60_000;

/** What the worker tells the server about a flow run. */
interface Described {
  infrastructure_pid: string | null;
  labels: Record<string, unknown>;
}

describe("a flow run", () => {
  test("completes with its parameters, and the server knows pid, labels, logs and events", async () => {
    const api = sharedApi();
    const pool = await newPool(api);
    const deployment = await deploy(api, pool, "hello");
    await using worker = await startWorker(pool, { apiUrl: inject("apiUrl"), name: "w-hello" });
    const created = await api.createFlowRun(deployment, { parameters: { name: "lictor", times: 2 } });
    const { states } = await api.waitForState(created.id, ["COMPLETED"], END_TIMEOUT_MS);

    expect(states.map((state) => state.name)).toEqual(["Scheduled", ...claimedStates(), "Running", "Completed"]);
    // Nothing waits for these: a busy server may take them last.
    const described = await waitFor(
      async () => {
        const read = await api.request<Described>("GET", `/flow_runs/${created.id}`);
        return (!isPrefectSince("3.1") || read.labels["prefect.worker.name"] !== undefined) && read;
      },
      { timeoutMs: 20_000, what: "the flow run's process id and labels" },
    );
    expect(described.infrastructure_pid).toMatch(/^\d+$/);
    if (isPrefectSince("3.1")) {
      expect(described.labels).toMatchObject({ "prefect.worker.name": "w-hello", "prefect.work-pool.name": pool });
    }

    const messages = await waitFor(
      async () => {
        const logs = await api.readLogs(created.id);
        const found = logs.map(({ message }) => message);
        const engineToo = found.filter((message) => message === "Hello, lictor!").length === 2;
        return engineToo && found.some((message) => message.includes("submitted to infrastructure")) && found;
      },
      { timeoutMs: 10_000, what: "the log records of worker and engine" },
    );
    expect(messages).toContain(`Worker 'w-hello' submitting flow run '${created.id}'`);

    worker.signal("SIGTERM");
    expect(await worker.exited).toEqual({ code: 0, signal: null });
    const resource = { id: ["prefect.worker.process.w-hello"] };
    const names = await waitFor(
      async () => {
        const events = await api.readEvents({ resource });
        return events.length >= 4 && events.map(({ event }) => event);
      },
      { timeoutMs: 10_000, what: "the worker's four events" },
    );
    expect(names).toEqual([
      "prefect.worker.started",
      "prefect.worker.submitted-flow-run",
      "prefect.worker.executed-flow-run",
      "prefect.worker.stopped",
    ]);
    expect(worker.stdout).toContain(`Discovered type 'process' for work pool '${pool}'.`);
    expect(worker.stdout).toContain("Worker 'w-hello' started!");
    expect(worker.stdout).toContain("Worker 'w-hello' stopped!");
  });

  test.each([
    { flow: "fail", end: "FAILED", message: /this flow always fails/ },
    {
      flow: "kill_self",
      end: "CRASHED",
      message: /^Process exited with status code: -9\. Process exited due to a SIGKILL signal\./,
    },
    {
      flow: "exit_three",
      end: "CRASHED",
      message: /^Process exited with status code: 3\. Process exited with an unexpected status code\.$/,
    },
  ] as const)("of the flow $flow ends as $end", async ({ flow, end, message }) => {
    const api = sharedApi();
    const pool = await newPool(api);
    const deployment = await deploy(api, pool, flow);
    await using _worker = await startWorker(pool, { apiUrl: inject("apiUrl") });
    const created = await api.createFlowRun(deployment);
    const { flowRun } = await api.waitForState(created.id, [end], END_TIMEOUT_MS);
    expect(flowRun.state?.message).toMatch(message);
  });

  test("whose entrypoint does not exist ends as Crashed or Failed, not as Pending", async () => {
    const api = sharedApi();
    const pool = await newPool(api);
    const deployment = await deploy(api, pool, "hello", { entrypoint: "nowhere.py:nothing" });
    await using _worker = await startWorker(pool, { apiUrl: inject("apiUrl") });
    const created = await api.createFlowRun(deployment);
    const { flowRun } = await api.waitForState(created.id, ["CRASHED", "FAILED"], END_TIMEOUT_MS);
    expect(flowRun.state?.message).toMatch(/nowhere\.py|status code: 1/);
  });

  test("whose command does not exist ends as Crashed with the system's reason", async () => {
    const api = sharedApi();
    const pool = await newPool(api);
    const deployment = await deploy(api, pool, "hello", { jobVariables: { command: "/no/such/program --now" } });
    await using _worker = await startWorker(pool, { apiUrl: inject("apiUrl") });
    const created = await api.createFlowRun(deployment);
    const { flowRun } = await api.waitForState(created.id, ["CRASHED"], END_TIMEOUT_MS);
    expect(flowRun.state?.message).toBe("Flow run could not start: spawn /no/such/program ENOENT");
  });

  test("that is cancelled while it runs ends as Cancelled and leaves no process", async () => {
    const api = sharedApi();
    const pool = await newPool(api);
    const deployment = await deploy(api, pool, "sleep");
    await using worker = await startWorker(pool, { apiUrl: inject("apiUrl") });
    const created = await api.createFlowRun(deployment, { parameters: { seconds: 120 } });
    await worker.waitForOutput(/^ready$/m, END_TIMEOUT_MS);
    await api.setState(created.id, "CANCELLING");
    // The engine takes the SIGTERM for a crash and says so first.
    await waitFor(async () => (await api.readFlowRun(created.id)).state_type === "CANCELLED", {
      timeoutMs: END_TIMEOUT_MS,
      what: "the flow run to be Cancelled",
    });
    await waitFor(async () => (await worker.descendants()).length === 0, {
      // The hooks of the cancellation follow, in a Python of their own.
      timeoutMs: END_TIMEOUT_MS,
      what: "the flow run's process to end",
    });
  });
});
