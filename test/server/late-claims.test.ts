// A claim that takes effect late: servers accept it for a flow run that has ended meanwhile.
import { randomUUID } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, inject, test } from "vitest";
import type { JsonObject, StateType } from "../../src/api/wire.ts";
import type { RunningProgram } from "../support/lictor.ts";
import type { PrefectApi } from "../support/prefect-api.ts";
import { needsPrefect } from "../support/prefect-release.ts";
import { type Answer, type ReverseProxy, type SeenRequest, startReverseProxy } from "../support/reverse-proxy.ts";
import { startWorker } from "../support/start-worker.ts";
import { makeTemporaryDirectory } from "../support/temporary-directory.ts";
import { waitFor } from "../support/wait-for.ts";
import { deploy, newPool, programCommand, sharedApi } from "./deployments.ts";

/** A worker whose proposals of one state the proxy holds back until `release`. */
interface HeldWorker extends AsyncDisposable {
  api: PrefectApi;
  worker: RunningProgram;
  flowRunId: string;
  proxy: ReverseProxy;
  /** Resolves when the proposal is at the proxy. */
  held: Promise<unknown>;
  release(): void;
  executions(): Promise<string[]>;
}

/** A request that is held back and never reaches the server, and its answer. */
interface HeldRead {
  path: RegExp;
  answer: Answer;
}

/** The job variables of a program that reports nothing. It writes its line into the file `log`. */
const reportedByWorker = (log: string): JsonObject => ({
  reporter: "worker",
  program: ["sh", "-c", 'echo "$PREFECT__FLOW_RUN_ID" >> "$0"', log],
});

/** The job variables of a program that reports its states itself. */
const reportedByItself = (log: string): JsonObject => ({ command: programCommand("report-completed.mjs", log) });

/** Starts the worker with one flow run in its pool; `run` is what the flow run is created with. */
async function startHeld(
  what: string | HeldRead,
  run: object = {},
  jobVariables: (log: string) => JsonObject = reportedByItself,
): Promise<HeldWorker> {
  const api = sharedApi();
  const pool = await newPool(api);
  const directory = await makeTemporaryDirectory("lictor-late-");
  const log = join(directory.path, "executions");
  const deployment = await deploy(api, pool, "hello", { jobVariables: jobVariables(log) });
  const { id } = await api.request<{ id: string }>("POST", `/deployments/${deployment}/create_flow_run`, run);
  const isHeld = ({ path, body }: SeenRequest): boolean =>
    typeof what === "string" ? path.endsWith("/set_state") && body.includes(`"name":"${what}"`) : what.path.test(path);
  let release = (): void => {};
  const released = new Promise<void>((resolve) => {
    release = resolve;
  });
  const proxy = await startReverseProxy(inject("apiUrl"), {
    onRequest: async (request) => {
      if (!isHeld(request)) return undefined;
      await released;
      return typeof what === "string" ? undefined : what.answer;
    },
  });
  const worker = await startWorker(pool, { apiUrl: proxy.apiUrl, env: { PREFECT_API_REQUEST_TIMEOUT: "120" } });
  return {
    api,
    worker,
    proxy,
    flowRunId: id,
    held: waitFor(() => proxy.requests.some(isHeld), { timeoutMs: 30_000, what: "the request that is held back" }),
    release,
    executions: async () => (await readFile(log, "utf8").catch(() => "")).split("\n").filter(Boolean),
    async [Symbol.asyncDispose]() {
      release();
      await worker[Symbol.asyncDispose]();
      await proxy.stop();
      await directory[Symbol.asyncDispose]();
    },
  };
}

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
    await held.worker.waitForOutput(/was to be retried when the claim took effect.*was restored/, 20_000);
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
