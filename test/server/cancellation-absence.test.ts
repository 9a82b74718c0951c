// Cancellations that nobody is there to hear of: the server is away, or the worker is.
import { describe, expect, inject, test } from "vitest";
import { aborted } from "../../src/async/sleep.ts";
import { findFreePort } from "../support/free-port.ts";
import { startPrefectServer } from "../support/prefect-server.ts";
import { startReverseProxy } from "../support/reverse-proxy.ts";
import { startWorker } from "../support/start-worker.ts";
import { makeTemporaryDirectory } from "../support/temporary-directory.ts";
import {
  ENGINE_TIMEOUT_MS,
  sleeping,
  startCommand,
  startHooked,
  untilCancelled,
  untilNoProcess,
  type WorkerWithRun,
} from "./cancelled-runs.ts";
import { deploy } from "./deployments.ts";

describe("a flow run that is cancelled", { timeout: 300_000 }, () => {
  test.concurrent("just before its server goes away, or as soon as it is back, ends as Cancelled", async () => {
    await using home = await makeTemporaryDirectory("lictor-server-");
    const port = await findFreePort();
    const first = await startPrefectServer({ port, home: home.path });
    await using run = await startHooked("sleep_with_hooks", { serverUrl: first.apiUrl });
    const { api, worker, pool, id } = run;
    await worker.waitForOutput(/^ready$/m, ENGINE_TIMEOUT_MS);
    const other = await api.createFlowRun(await deploy(api, pool, "hello", { jobVariables: { command: sleeping } }));
    await worker.waitForOutput(/^plain$/m, 30_000);
    await api.setState(id, "CANCELLING");
    await first[Symbol.asyncDispose]();
    await using _second = await startPrefectServer({ port, home: home.path });
    await api.setState(other.id, "CANCELLING", { force: true });
    const ends = await Promise.all([untilCancelled(api, id), untilCancelled(api, other.id)]);
    for (const states of ends) expect(states.at(-1)).toMatch(/^Cancelled: Flow run was cancelled/);
    expect(ends.flat().filter((state) => /^(Crashed|Failed|Completed)/.test(state))).toEqual([]);
    await untilNoProcess(worker);
    expect(await run.hooks()).toBe("cancellation Cancelling\n");
  });

  test.concurrent("and set to run again while the server still replays that goes on", async () => {
    const short = `${process.execPath} -e "console.log('plain');setTimeout(()=>console.log('done'),8e3)"`;
    await using run = await startCommand(short);
    await run.worker.waitForOutput(/^plain$/m, 30_000);
    await run.api.setState(run.id, "CANCELLING", { force: true });
    await untilCancelled(run.api, run.id);
    run.worker.signal("SIGTERM");
    await run.worker.exited;
    await run.api.setState(run.id, "SCHEDULED", { force: true });
    await using next = await startNext(run);
    await next.waitForOutput(/^done$/m, 40_000);
    expect(next.stderr).not.toMatch(/Cancelled (pending )?flow run/);
  });

  test.concurrent("after its worker was killed is ended by the next one, where the setting asks for it", async () => {
    await using run = await startHooked("sleep_with_hooks");
    await run.worker.waitForOutput(/^ready$/m, ENGINE_TIMEOUT_MS);
    await killWorker(run);
    expect(await run.worker.descendants()).toHaveLength(1);
    await run.api.setState(run.id, "CANCELLING");
    await using next = await startNext(run);
    const states = await untilCancelled(run.api, run.id);
    // The engine cannot be told why it is ended: newer ones report a crash, whatever the state was, and run those hooks.
    const crashed = "Crashed: Execution was aborted by a termination signal.";
    expect(states.filter((state) => state !== crashed).slice(-3)).toEqual([
      "Running",
      "Cancelling",
      "Cancelled: Flow run was cancelled successfully.",
    ]);
    await next.waitForOutput(/Cancelled flow run '/, 10_000);
    await untilNoProcess(run.worker);
    expect(await run.hooks()).toBe(states.includes(crashed) ? "crashed Crashed\n" : "");
  });

  test.concurrent("after it was claimed by a worker that was killed then is Cancelled by the next one", async () => {
    const over = new AbortController();
    await using proxy = await startReverseProxy(inject("apiUrl"), {
      onRequest: async (request) => {
        if (request.path.endsWith("/set_state") && request.body.includes("Submitting")) await aborted(over.signal);
        return over.signal.aborted ? { status: 503 } : undefined;
      },
    });
    await using run = await startCommand(sleeping, { apiUrl: proxy.apiUrl });
    await run.api.waitForState(run.id, ["PENDING"], 20_000);
    await killWorker(run);
    over.abort();
    await run.api.setState(run.id, "CANCELLING");
    await using next = await startNext(run);
    const states = await untilCancelled(run.api, run.id);
    expect(states).toEqual([
      "Scheduled",
      "Pending",
      "Cancelling",
      "Cancelled: Flow run cancelled by worker (no infrastructure found).",
    ]);
    await next.waitForOutput(new RegExp(`Cancelled pending flow run '${run.id}'`), 10_000);
  });
});

async function killWorker({ worker }: WorkerWithRun): Promise<void> {
  worker.signal("SIGKILL");
  await worker.exited;
}

function startNext({ pool }: WorkerWithRun): ReturnType<typeof startWorker> {
  return startWorker(pool, {
    apiUrl: inject("apiUrl"),
    env: { PREFECT_WORKER_ENABLE_CANCELLATION: "true", PREFECT_WORKER_CANCELLATION_POLL_SECONDS: "1" },
  });
}
