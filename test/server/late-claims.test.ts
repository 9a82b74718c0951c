// A claim that takes effect late: servers accept it for a flow run that has ended meanwhile.
import { randomUUID } from "node:crypto";
import { describe, expect, test } from "vitest";
import type { StateType } from "../../src/api/wire.ts";
import { needsPrefect } from "../support/prefect-release.ts";
import { type HeldWorker, reportedByWorker, startHeld } from "./held-worker.ts";

/** What another worker and its engine do to the flow run. */
async function execute({ api, flowRunId }: HeldWorker, end: StateType): Promise<void> {
  for (const type of ["PENDING", "RUNNING", end] as const) {
    const { status } = await api.setState(flowRunId, type, { message: `${type} by another worker` });
    if (type !== "FAILED") expect(status).toBe("ACCEPT");
  }
}

describe("a claim that takes effect late", () => {
  test.each(["COMPLETED", "FAILED", "CRASHED"] as const)("gives a flow run back that is %s by then", async (end) => {
    await using held = await startHeld("Pending");
    await held.held;
    await execute(held, end);
    held.release();
    await held.worker.waitForOutput(/had ended when the claim took effect.*was restored/, 20_000);
    const flowRun = await held.api.readFlowRun(held.flowRunId);
    expect(flowRun.state).toMatchObject({ type: end, message: `${end} by another worker` });
    const names = (await held.api.readStates(held.flowRunId)).map(({ type }) => type);
    expect(names.filter((type) => type === "PENDING")).toHaveLength(2);
    expect(await held.executions()).toEqual([]);
  });

  test("starts a flow run that was set to run again meanwhile", async () => {
    await using held = await startHeld("Pending");
    await held.held;
    await execute(held, "FAILED");
    await held.api.setState(held.flowRunId, "SCHEDULED");
    held.release();
    await held.api.waitForState(held.flowRunId, ["COMPLETED"], 30_000);
    expect(await held.executions()).toEqual([held.flowRunId]);
  });

  test("leaves a retry to the engine that waits for it", async () => {
    needsPrefect("3.1.15", "the note that an engine waits for its retry itself");
    await using held = await startHeld("Pending", { empirical_policy: { retries: 1, retry_delay: 3600 } });
    await held.held;
    await execute(held, "FAILED");
    expect((await held.api.readFlowRun(held.flowRunId)).state?.name).toBe("AwaitingRetry");
    held.release();
    await held.worker.waitForOutput(/is being retried by its own process/, 20_000);
    // The engine has to wait as before, and no worker gets the flow run.
    expect(await held.api.setState(held.flowRunId, "RUNNING")).toMatchObject({ status: "WAIT" });
    expect(await held.api.setState(held.flowRunId, "PENDING")).toMatchObject({ status: "ABORT" });
    expect(await held.executions()).toEqual([]);
  });

  test.each([
    ["at once", 0],
    ["at its time", 3600],
  ])("gives a retry back that no process waits for, to be executed %s", async (_when, retry_delay) => {
    needsPrefect("3.1.15", "the note that an engine waits for its retry itself");
    await using held = await startHeld("Pending", { empirical_policy: { retries: 1, retry_delay } }, reportedByWorker);
    await held.held;
    await execute(held, "FAILED");
    const retry = (await held.api.readFlowRun(held.flowRunId)).state;
    expect(retry?.name).toBe("AwaitingRetry");
    held.release();
    await held.worker.waitForOutput(/was scheduled again when the claim took effect.*was restored/, 20_000);
    if (retry_delay > 0) {
      const flowRun = await held.api.readFlowRun(held.flowRunId);
      const { name, message, state_details } = flowRun.state ?? {};
      expect({ name, message }).toEqual({ name: "AwaitingRetry", message: "FAILED by another worker" });
      expect(state_details?.scheduled_time).toBe(retry?.state_details?.scheduled_time);
      expect(flowRun.empirical_policy?.retry_type).toBe("reschedule");
    } else {
      await held.api.waitForState(held.flowRunId, ["COMPLETED"], 30_000);
    }
    expect(await held.executions()).toHaveLength(retry_delay > 0 ? 0 : 1);
  });

  test("gives a flow run back that was set to run later meanwhile, because a program would not wait", async () => {
    await using held = await startHeld("Pending", {}, reportedByWorker);
    await held.held;
    const scheduled_time = new Date(Date.now() + 3_600_000).toISOString();
    const state = { type: "SCHEDULED", name: "Scheduled", state_details: { scheduled_time } };
    await held.api.request("POST", `/flow_runs/${held.flowRunId}/set_state`, { state });
    held.release();
    await held.worker.waitForOutput(/was scheduled again when the claim took effect.*was restored/, 20_000);
    const flowRun = await held.api.readFlowRun(held.flowRunId);
    expect(flowRun.state_name).toBe("Scheduled");
    expect(Date.parse(flowRun.next_scheduled_start_time ?? "")).toBe(Date.parse(scheduled_time));
    expect(await held.executions()).toEqual([]);
  });

  test("costs no request where it is not late", async () => {
    await using held = await startHeld("Pending");
    held.release();
    await held.api.waitForState(held.flowRunId, ["COMPLETED"], 30_000);
    expect(await held.executions()).toEqual([held.flowRunId]);
    expect(held.proxy.count("GET", "/flow_run_states/")).toBe(0);
  });
});

describe("a flow run that is set back between claim and start", () => {
  test("is left to the worker that has claimed it since", async () => {
    needsPrefect("3.6.22", "the state Submitting");
    await using held = await startHeld("Submitting");
    await held.held;
    await held.api.setState(held.flowRunId, "SCHEDULED", { force: true });
    await held.api.request("POST", `/flow_runs/${held.flowRunId}/set_state`, {
      state: { type: "PENDING", name: "Pending", state_details: { transition_id: randomUUID() } },
    });
    held.release();
    await held.worker.waitForOutput(/Aborted submission of flow run '.*': another worker has it\./, 20_000);
    expect(await held.executions()).toEqual([]);
  });

  test("is started although the Submitting of an earlier claim arrives late", async () => {
    needsPrefect("3.6.22", "the state Submitting");
    await using held = await startHeld("Submitting");
    await held.held;
    // The server carries the scheduled time of this worker's claim on.
    const { status } = await held.api.request<{ status: string }>("POST", `/flow_runs/${held.flowRunId}/set_state`, {
      state: { type: "PENDING", name: "Submitting", state_details: { transition_id: randomUUID() } },
    });
    expect(status).toBe("ACCEPT");
    held.release();
    await held.api.waitForState(held.flowRunId, ["COMPLETED"], 30_000);
    expect(await held.executions()).toEqual([held.flowRunId]);
  });

  test.each(["RUNNING", "PAUSED"] as const)("is left alone if it is %s by then", async (type) => {
    needsPrefect("3.6.22", "the state Submitting");
    await using held = await startHeld("Submitting");
    await held.held;
    await held.api.setState(held.flowRunId, "SCHEDULED", { force: true });
    await held.api.setState(held.flowRunId, "PENDING");
    await held.api.setState(held.flowRunId, "RUNNING");
    await held.api.setState(held.flowRunId, type, { force: true, message: "by another worker" });
    const before = await held.api.readStates(held.flowRunId);
    held.release();
    await held.worker.waitForOutput(/Aborted submission of flow run '.*': another worker has it\./, 20_000);
    held.worker.signal("SIGTERM");
    expect(await held.worker.exited).toEqual({ code: 0, signal: null });
    expect(await held.executions()).toEqual([]);
    expect(await held.api.readStates(held.flowRunId)).toEqual(before);
  });

  test("is not reported as crashed if it cannot be started and another worker runs it", async () => {
    const answer = { status: 404, headers: { "content-type": "application/json" }, body: '{"detail":"no flow"}' };
    await using held = await startHeld({ path: /^\/flows\//, answer });
    await held.held;
    await held.api.setState(held.flowRunId, "SCHEDULED", { force: true });
    await held.api.setState(held.flowRunId, "PENDING");
    await held.api.setState(held.flowRunId, "RUNNING");
    held.release();
    await held.worker.waitForOutput(/is 'Running' by now; it is not reported as crashed\./, 20_000);
    held.worker.signal("SIGTERM");
    expect(await held.worker.exited).toEqual({ code: 0, signal: null });
    expect((await held.api.readFlowRun(held.flowRunId)).state_type).toBe("RUNNING");
  });

  test("is not started if it has ended by then, and keeps its end", async () => {
    needsPrefect("3.6.22", "the state Submitting");
    await using held = await startHeld("Submitting");
    await held.held;
    await held.api.setState(held.flowRunId, "CANCELLED", { force: true, message: "by somebody" });
    held.release();
    await held.worker.waitForOutput(/is Cancelled already; it is not started\./, 20_000);
    held.worker.signal("SIGTERM");
    await held.worker.exited;
    expect(await held.executions()).toEqual([]);
    expect((await held.api.readFlowRun(held.flowRunId)).state?.message).toBe("by somebody");
  });

  test("is started where nobody has claimed it since", async () => {
    needsPrefect("3.6.22", "the state Submitting");
    await using held = await startHeld("Submitting");
    await held.held;
    await held.api.setState(held.flowRunId, "SCHEDULED", { force: true });
    held.release();
    await held.api.waitForState(held.flowRunId, ["COMPLETED"], 30_000);
    expect(await held.executions()).toEqual([held.flowRunId]);
  });
});
