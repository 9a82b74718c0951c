// Processes that a flow run leaves behind: they are ended, and nobody waits for that but the end of the worker.
import { describe, expect, inject, test } from "vitest";
import { runLictor } from "../support/lictor.ts";
import { isAlive, pidsWithEnvironment, signalProcess } from "../support/processes.ts";
import { startWorker } from "../support/start-worker.ts";
import { makeTemporaryDirectory } from "../support/temporary-directory.ts";
import { waitFor } from "../support/wait-for.ts";
import { deploy, newPool, programCommand, sharedApi } from "./deployments.ts";

const ENGINE_TIMEOUT_MS = 90_000;
const sleeping = "sleep 600";
const stubborn = programCommand("ignore-sigterm.mjs");
const behind = /The flow run left 1 process \((\d+)\) behind; it is (being ended|kept)/;

async function open(args: readonly string[] = [], env: Record<string, string> = {}) {
  const api = sharedApi();
  const pool = await newPool(api);
  const deployment = await deploy(api, pool, "leave_behind");
  const worker = await startWorker(pool, { apiUrl: inject("apiUrl"), args: ["--log-format", "text", ...args], env });
  const run = async (parameters: { command: string; fails?: boolean }) =>
    await api.createFlowRun(deployment, { parameters });
  return { api, pool, worker, run, [Symbol.asyncDispose]: () => worker[Symbol.asyncDispose]() };
}

describe("a process that a flow run left behind", { timeout: 300_000 }, () => {
  test.concurrent("is ended after the flow run is Completed, and the flow run's log says so", async () => {
    await using opened = await open();
    const { api, worker, run } = opened;
    const { id } = await run({ command: sleeping });
    const { states } = await api.waitForState(id, ["COMPLETED"], ENGINE_TIMEOUT_MS);
    await worker.waitForOutput(behind, 20_000);
    await waitFor(async () => (await worker.descendants()).length === 0, { timeoutMs: 20_000, what: "no process" });
    expect((await api.readStates(id)).map(({ name }) => name)).toEqual(states.map(({ name }) => name));
    await waitFor(async () => (await api.readLogs(id)).some(({ message }) => behind.test(message)), {
      timeoutMs: 20_000,
      what: "the log record on the server",
    });
  });

  test.concurrent("takes no slot while it gets its grace time, and a drain waits for its end", async () => {
    await using opened = await open(["--limit", "1"]);
    const { api, worker, run } = opened;
    const first = await run({ command: stubborn });
    await worker.waitForOutput(behind, ENGINE_TIMEOUT_MS);
    const left = (await pidsWithEnvironment("PREFECT__FLOW_RUN_ID", first.id)).filter(isAlive);
    expect(left).toHaveLength(1);
    // The second flow run runs in the first one's slot during the 30 s of grace, unless the machine is very busy.
    const second = await run({ command: "true" });
    await worker.waitForOutput(new RegExp(`submitting flow run '${second.id}'`), 20_000);
    expect(left.filter(isAlive)).toEqual(left);
    await api.waitForState(second.id, ["COMPLETED"], ENGINE_TIMEOUT_MS);
    worker.signal("SIGTERM");
    expect(await worker.exited).toEqual({ code: 0, signal: null });
    expect(await worker.descendants()).toEqual([]);
    expect((await api.readFlowRun(first.id)).state_type).toBe("COMPLETED");
  });

  test.concurrent("goes on with LICTOR_KEEP_ORPHANS", async () => {
    await using opened = await open([], { LICTOR_KEEP_ORPHANS: "true" });
    const { api, worker, run } = opened;
    const { id } = await run({ command: sleeping, fails: true });
    await api.waitForState(id, ["FAILED"], ENGINE_TIMEOUT_MS);
    await worker.waitForOutput(behind, 20_000);
    worker.signal("SIGTERM");
    expect(await worker.exited).toEqual({ code: 0, signal: null });
    const left = await pidsWithEnvironment("PREFECT__FLOW_RUN_ID", id);
    expect(left).toHaveLength(1);
    for (const pid of left) signalProcess(pid, "SIGKILL");
    expect(worker.stderr).toMatch(/it is kept, because LICTOR_KEEP_ORPHANS is true/);
  });

  test.concurrent.each(["while no worker watched it", "after it was adopted"])(
    "is ended also if the flow run ended %s",
    async (when) => {
      await using state = await makeTemporaryDirectory("lictor-state-");
      const env = { LICTOR_STATE_DIR: state.path };
      await using opened = await open([], env);
      const { api, pool, worker: first } = opened;
      const command = `${process.execPath} -e "require('child_process').spawn('sleep',['600']);console.log('plain');setTimeout(()=>process.exit(0),20000)"`;
      const deployment = await deploy(api, pool, "hello", { jobVariables: { command } });
      const { id } = await api.createFlowRun(deployment);
      await first.waitForOutput(/^plain$/m, 60_000);
      // Only then is the pid in the journal.
      await first.waitForOutput(/submitted to infrastructure/, 20_000);
      first.signal("SIGKILL");
      await first.exited;
      const living = () => pidsWithEnvironment("PREFECT__FLOW_RUN_ID", id);
      expect(await living()).toHaveLength(2);
      const untilLeft = waitFor(async () => (await living()).length < 2, { timeoutMs: 60_000, what: "the end" });
      if (when.startsWith("while")) await untilLeft;
      const args = ["--log-format", "text"];
      await using next = await startWorker(pool, { apiUrl: inject("apiUrl"), name: "next", args, env });
      await next.waitForOutput(/Taking over flow run/, 20_000);
      await next.waitForOutput(behind, 60_000);
      await waitFor(async () => (await living()).length === 0, { timeoutMs: 20_000, what: "no process" });
    },
  );
});

test("LICTOR_KEEP_ORPHANS with a value that is no boolean is refused in one line", async () => {
  const env = { PREFECT_API_URL: inject("apiUrl"), LICTOR_KEEP_ORPHANS: "maybe" };
  expect(await runLictor(["worker", "start", "--pool", "p"], { env })).toEqual({
    code: 1,
    stdout: "",
    stderr: "LICTOR_KEEP_ORPHANS is 'maybe'. Set it to true or false, or remove it.\n",
  });
});
