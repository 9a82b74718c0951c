// Every way in which the cancellation of a flow run can end: its states and their messages, what its hooks did, what the
// log says, and that no process is left.
import { describe, expect, inject, test } from "vitest";
import { aborted } from "../../src/async/sleep.ts";
import { type ReverseProxy, type SeenRequest, startReverseProxy } from "../support/reverse-proxy.ts";
import { startWorker } from "../support/start-worker.ts";
import { waitFor } from "../support/wait-for.ts";
import {
  ENGINE_TIMEOUT_MS,
  history,
  sleeping,
  startCommand,
  startHooked,
  untilCancelled,
  untilHooks,
  untilNoProcess,
} from "./cancelled-runs.ts";
import { claimedStates, deploy, newPool, programCommand, sharedApi } from "./deployments.ts";

const started = ["Scheduled", ...claimedStates(), "Running"];
const byWorker = [...started, "Cancelling", "Cancelled: Flow run was cancelled successfully."];
const log = /Cancelled flow run '/;
const TIMEOUT_MS = 150_000;

const proposes = ({ path, body }: SeenRequest, type: string): boolean =>
  path.endsWith("/set_state") && JSON.parse(body).state.type === type;

describe("a flow run that is cancelled", { timeout: TIMEOUT_MS }, () => {
  test.concurrent("while it sleeps is Cancelling and Cancelled once, and its hooks run once", async () => {
    await using run = await startHooked("sleep_with_hooks");
    await run.worker.waitForOutput(/^ready$/m, ENGINE_TIMEOUT_MS);
    await run.api.setState(run.id, "CANCELLING");
    expect(await untilCancelled(run.api, run.id)).toEqual(byWorker);
    await run.worker.waitForOutput(log, 20_000);
    await untilHooks(run);
    await untilNoProcess(run.worker);
    expect(await run.hooks()).toBe("cancellation Cancelling\n");
    const events = await waitFor(
      async () => {
        const filter = { event: { name: ["prefect.runner.cancelled-flow-run"] }, related: { id: [related(run.id)] } };
        const found = await run.api.readEvents(filter);
        return found.length > 0 && found;
      },
      { timeoutMs: 10_000, what: "the event" },
    );
    expect(events.map(({ resource }) => resource["prefect.resource.id"])).toEqual(["prefect.runner.standalone"]);
    expect(events[0]?.related.map((each) => each["prefect.resource.role"])).toEqual(["deployment", "flow", "flow-run"]);
  });

  test.concurrent("by three requests at once is ended once", async () => {
    await using run = await startHooked("sleep_with_hooks");
    await run.worker.waitForOutput(/^ready$/m, ENGINE_TIMEOUT_MS);
    await Promise.all([1, 2, 3].map(() => run.api.setState(run.id, "CANCELLING")));
    expect(await untilCancelled(run.api, run.id)).toEqual(byWorker);
    await run.worker.waitForOutput(log, 20_000);
    await untilHooks(run);
    await untilNoProcess(run.worker);
    expect(await run.hooks()).toBe("cancellation Cancelling\n");
    expect(run.worker.stderr.match(/Cancelled flow run '/g)).toHaveLength(1);
  });

  test.concurrent("while it ignores SIGTERM is killed after 30 s, its hooks run in its place", async () => {
    await using run = await startHooked("ignore_sigterm");
    await run.worker.waitForOutput(/^ready$/m, ENGINE_TIMEOUT_MS);
    await run.api.setState(run.id, "CANCELLING");
    const askedAt = performance.now();
    expect(await untilCancelled(run.api, run.id)).toEqual(byWorker);
    expect(performance.now() - askedAt).toBeGreaterThan(29_000);
    await run.worker.waitForOutput(log, 20_000);
    await untilHooks(run);
    await untilNoProcess(run.worker);
    expect(await run.hooks()).toBe("cancellation Cancelling\n");
  });

  test.concurrent("while it has a child of its own leaves neither, though its worker is told to stop", async () => {
    await using run = await startHooked("with_grandchild");
    await run.worker.waitForOutput(/^ready$/m, ENGINE_TIMEOUT_MS);
    run.worker.signal("SIGTERM");
    await run.worker.waitForOutput(/Waiting for 1 flow run\(s\) to end/, 20_000);
    await run.api.setState(run.id, "CANCELLING");
    expect(await run.worker.exited).toEqual({ code: 0, signal: null });
    expect(await history(run.api, run.id)).toEqual(byWorker);
    expect(run.worker.stderr).toMatch(log);
    expect(await run.worker.descendants()).toEqual([]);
    expect(await run.hooks()).toBe("cancellation Cancelling\n");
  });

  test.concurrent("just before it completes, unseen by its worker, is not left in Cancelling", async () => {
    await using proxy = await startUnseen();
    await using run = await startHooked("work_with_hooks", { apiUrl: proxy.apiUrl, parameters: { seconds: 3 } });
    await run.worker.waitForOutput(/^ready$/m, ENGINE_TIMEOUT_MS);
    await run.api.setState(run.id, "CANCELLING");
    expect(await untilCancelled(run.api, run.id)).toEqual(byWorker);
    await run.worker.waitForOutput(log, 20_000);
    await untilHooks(run);
    await untilNoProcess(run.worker);
    expect(await run.hooks()).toBe("cancellation Cancelling\n");
  });

  test.concurrent.each([
    ["succeeds", 0],
    ["crashes", 3],
  ])("just before its command %s is not left in Cancelling either", async (_what, code) => {
    await using proxy = await startUnseen();
    const command = `${process.execPath} -e "console.log('plain');setTimeout(()=>process.exit(${code}),3e3)"`;
    await using run = await startCommand(command, { apiUrl: proxy.apiUrl });
    await run.worker.waitForOutput(/^plain$/m, 20_000);
    await run.api.setState(run.id, "CANCELLING", { force: true });
    const states = await untilCancelled(run.api, run.id);
    expect(states.slice(-2)).toEqual(["Cancelling", "Cancelled: Flow run was cancelled successfully."]);
  });

  test.concurrent("by a state of another name is ended as well", async () => {
    await using run = await startCommand(sleeping);
    await run.worker.waitForOutput(/^plain$/m, 20_000);
    const renamed = { state: { type: "CANCELLING", name: "Winding down" }, force: true };
    await run.api.request("POST", `/flow_runs/${run.id}/set_state`, renamed);
    const states = await untilCancelled(run.api, run.id);
    expect(states.slice(-2)).toEqual(["Winding down", "Cancelled: Flow run was cancelled successfully."]);
    await untilNoProcess(run.worker);
  });

  test.concurrent("and deleted meanwhile is ended without a complaint, and the worker goes on", async () => {
    await using run = await startCommand(programCommand("end-slowly.mjs"));
    await run.worker.waitForOutput(/^ready$/m, 20_000);
    await run.api.setState(run.id, "CANCELLING", { force: true });
    await run.worker.waitForOutput(/^ending$/m, 20_000);
    await run.api.deleteFlowRun(run.id);
    await untilNoProcess(run.worker);
    const next = await run.api.createFlowRun(
      await deploy(run.api, run.pool, "hello", { jobVariables: { command: "true" } }),
    );
    await run.worker.waitForOutput(new RegExp(`Flow run '${next.name}' submitted`), 20_000);
    // A warning may be of a socket, or of hooks that were about to run when the flow run was deleted.
    expect(run.worker.stderr).not.toMatch(/"level":50/);
  });
});

describe("a flow run that has not started", { timeout: TIMEOUT_MS }, () => {
  test.concurrent("or has ended is not started or ended again", async () => {
    const api = sharedApi();
    const pool = await newPool(api);
    const deployment = await deploy(api, pool, "hello", { jobVariables: { command: "true" } });
    const early = await api.createFlowRun(deployment);
    expect((await api.setState(early.id, "CANCELLING")).state.type).toBe("CANCELLED");
    const { id: late } = await api.createFlowRun(deployment);
    await using worker = await startWorker(pool, { apiUrl: inject("apiUrl") });
    await worker.waitForOutput(/submitted to infrastructure/, 20_000);
    await untilNoProcess(worker);
    await api.setState(late, "COMPLETED", { force: true });
    expect((await api.setState(late, "CANCELLING")).status).toBe("ABORT");
    worker.signal("SIGTERM");
    expect((await worker.exited).code).toBe(0);
    expect((await history(api, late)).at(-1)).toBe("Completed");
    expect(await history(api, early.id)).toHaveLength(2);
    expect(worker.stderr).not.toContain(early.id);
    expect(worker.stderr).not.toMatch(log);
  });

  test.concurrent.each([
    ["false", "Flow run was cancelled before execution started."],
    ["true", "Flow run cancelled by worker (no infrastructure found)."],
  ])("and is cancelled after its claim never does, with the setting %s", async (setting, message) => {
    const cancelled = new AbortController();
    await using proxy = await startReverseProxy(inject("apiUrl"), {
      onRequest: async (request) => {
        if (request.path.endsWith("/set_state") && request.body.includes("Submitting")) await aborted(cancelled.signal);
        return undefined;
      },
    });
    await using run = await startCommand(sleeping, {
      apiUrl: proxy.apiUrl,
      env: { PREFECT_WORKER_ENABLE_CANCELLATION: setting },
    });
    await run.api.waitForState(run.id, ["PENDING"], 20_000);
    await run.api.setState(run.id, "CANCELLING");
    cancelled.abort();
    expect(await untilCancelled(run.api, run.id)).toEqual([
      "Scheduled",
      "Pending",
      "Cancelling",
      `Cancelled: ${message}`,
    ]);
    await run.worker.waitForOutput(new RegExp(`Cancelled pending flow run '${run.id}'`), 20_000);
    expect(run.worker.stdout).not.toContain("plain");
  });

  test.concurrent("although its process has is told apart by the setting", async () => {
    await using run = await startCommand(sleeping, { env: { PREFECT_WORKER_ENABLE_CANCELLATION: "true" } });
    await run.worker.waitForOutput(/^plain$/m, 20_000);
    await run.api.setState(run.id, "CANCELLING", { force: true });
    const states = await untilCancelled(run.api, run.id);
    expect(states.at(-1)).toBe("Cancelled: Flow run cancelled by worker while pending.");
    await run.worker.waitForOutput(new RegExp(`Cancelled pending flow run '${run.id}'`), 20_000);
    await untilNoProcess(run.worker);
  });
});

const json = { "content-type": "application/json" };

test.concurrent("a flow run whose state Cancelled is refused is proposed as Crashed", async () => {
  const crashes: string[] = [];
  await using proxy = await startReverseProxy(inject("apiUrl"), {
    onRequest: (request) => {
      if (proposes(request, "CRASHED")) crashes.push(JSON.parse(request.body).state.message);
      return proposes(request, "CANCELLED")
        ? { status: 409, headers: json, body: '{"detail":"not allowed"}' }
        : undefined;
    },
  });
  await using run = await startCommand(sleeping, { apiUrl: proxy.apiUrl });
  await run.worker.waitForOutput(/^plain$/m, 20_000);
  await run.api.setState(run.id, "CANCELLING", { force: true });
  await run.worker.waitForOutput(/Failed to persist Cancelled state for flow run '/, 20_000);
  await waitFor(() => crashes.length > 0, { timeoutMs: 10_000, what: "the proposal" });
  expect(crashes).toEqual([
    "Flow run process exited after a cancellation request, but the runner could not durably persist a Cancelled terminal state.",
  ]);
  await untilNoProcess(run.worker);
});

/** A way to the server on which nothing tells of cancellations. */
async function startUnseen(): Promise<ReverseProxy> {
  return await startReverseProxy(inject("apiUrl"), {
    onUpgrade: ({ path }) => (path === "/events/out" ? 403 : undefined),
    onRequest: ({ path }) => (path === "/flow_runs/filter" ? { status: 200, body: "[]" } : undefined),
  });
}

function related(flowRunId: string): string {
  return `prefect.flow-run.${flowRunId}`;
}
