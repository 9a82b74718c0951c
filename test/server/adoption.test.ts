// What the next worker does with the flow runs of a worker that was killed.
import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, inject, test } from "vitest";
import { aborted } from "../../src/async/sleep.ts";
import { findFreePort } from "../support/free-port.ts";
import { isPrefectSince, needsPrefect } from "../support/prefect-release.ts";
import { isAlive, pidsWithEnvironment, signalProcess } from "../support/processes.ts";
import { startReverseProxy } from "../support/reverse-proxy.ts";
import { startWorker, type WorkerOptions } from "../support/start-worker.ts";
import { makeTemporaryDirectory } from "../support/temporary-directory.ts";
import { waitFor } from "../support/wait-for.ts";
import { deploy, newPool, sharedApi } from "./deployments.ts";

const ENGINE_TIMEOUT_MS = 90_000;

/** A pool and a state directory that the killed worker and the next one share. */
async function shareState() {
  const api = sharedApi();
  const pool = await newPool(api);
  const directory = await makeTemporaryDirectory("lictor-state-");
  const start = async (name: string, options: Partial<WorkerOptions> = {}) =>
    await startWorker(pool, {
      apiUrl: inject("apiUrl"),
      name,
      ...options,
      env: { LICTOR_STATE_DIR: directory.path, ...options.env },
    });
  return {
    api,
    pool,
    start,
    /** All files of all instances. */
    files: async () => await readdir(directory.path, { recursive: true }),
    /** The records of all instances. */
    async records(): Promise<string[]> {
      const instances = await readdir(join(directory.path, "instances")).catch(() => []);
      const lists = await Promise.all(
        instances.map((name) => readdir(join(directory.path, "instances", name, "runs")).catch(() => [])),
      );
      return lists.flat();
    },
    /** Makes all journals impossible to write: a file is in the place of each directory. */
    async blockJournals(): Promise<void> {
      for (const name of await readdir(join(directory.path, "instances"))) {
        await writeFile(join(directory.path, "instances", name, "runs"), "");
      }
    },
    [Symbol.asyncDispose]: async () => await directory[Symbol.asyncDispose](),
  };
}

async function kill(worker: Awaited<ReturnType<typeof startWorker>>): Promise<void> {
  worker.signal("SIGKILL");
  await worker.exited;
}

/** A command that says that it runs, and ends when told by a file. */
const until = (file: string): string =>
  `${process.execPath} -e "console.log('plain');setInterval(()=>require('fs').existsSync('${file}')&&(console.log('done'),process.exit(0)),100)"`;

describe("the flow runs of a killed worker", { timeout: 300_000 }, () => {
  test.concurrent("go on, keep the limit, can be cancelled, and leave nothing behind", async () => {
    await using state = await shareState();
    const { api, pool } = state;
    const deployment = await deploy(api, pool, "sleep");
    const args = ["--limit", "2"];
    await using first = await state.start("first", { args });
    await using files = await makeTemporaryDirectory("lictor-hooks-");
    const file = join(files.path, "hooks");
    const hooked = { entrypoint: "hooks.py:work_with_hooks", jobVariables: { env: { HOOKS_FILE: file } } };
    const long = await api.createFlowRun(await deploy(api, pool, "hello", hooked), { parameters: { seconds: 200 } });
    const short = await api.createFlowRun(deployment, { parameters: { seconds: 12 } });
    for (const { id } of [long, short]) await api.waitForState(id, ["RUNNING"], ENGINE_TIMEOUT_MS);
    await kill(first);
    expect(await first.descendants()).toHaveLength(2);
    await api.setState(long.id, "CANCELLING");
    const third = await api.createFlowRun(deployment, { parameters: { seconds: 0 } });
    await using next = await state.start("next", { args, env: { TMPDIR: join(first.home, "tmp") } });
    await next.waitForOutput(/Taking over flow run '.*' of worker 'first'/, 10_000);
    // The engine cannot be told the reason for the SIGTERM, so it may report a crash before.
    const isCancelled = async () =>
      (await api.readFlowRun(long.id)).state?.message === "Flow run was cancelled successfully.";
    await waitFor(isCancelled, { timeoutMs: 30_000, what: "the adopted flow run to be Cancelled" });
    await api.waitForState(short.id, ["COMPLETED"], ENGINE_TIMEOUT_MS);
    const { states } = await api.waitForState(third.id, ["COMPLETED"], ENGINE_TIMEOUT_MS);
    // It waited until an adopted flow run had freed a slot.
    expect(states.map(({ name }) => name)).not.toContain("Crashed");
    await waitFor(async () => (await state.records()).length === 0, {
      timeoutMs: 20_000,
      what: "no record to be left",
    });
    expect(await first.descendants()).toEqual([]);
    // An engine before 3.8.4 does not run the hooks of the crash that it reports.
    const hooks = (await readFile(file, "utf8")).split("\n").filter((line) => line !== "crashed Crashed");
    expect(hooks).toEqual(["cancellation Cancelling", ""]);
    expect((await state.files()).filter((name) => name.includes(`-${first.pid}-`))).toEqual([]);
    expect(await readdir(join(first.home, "tmp"))).toEqual([]);
  });

  test.concurrent("print to the next worker's output what was not yet read", async () => {
    await using state = await shareState();
    await using files = await makeTemporaryDirectory("lictor-go-");
    const file = join(files.path, "go");
    const deployment = await deploy(state.api, state.pool, "hello", { jobVariables: { command: until(file) } });
    await using first = await state.start("first");
    const { id } = await state.api.createFlowRun(deployment);
    await first.waitForOutput(/^plain$/m, 30_000);
    // The position is stored after the line was passed on. A kill in between would repeat the line.
    const isStored = async () => (await state.files()).some((name) => name.endsWith("stdout.position"));
    await waitFor(isStored, { timeoutMs: 10_000, what: "the position to be stored" });
    await kill(first);
    await using next = await state.start("next");
    await next.waitForOutput(/Taking over flow run/, 10_000);
    await writeFile(file, "");
    await next.waitForOutput(/^done$/m, 20_000);
    expect(next.stdout).not.toMatch(/^plain$/m);
    await waitFor(async () => (await state.records()).length === 0, {
      timeoutMs: 20_000,
      what: "no record to be left",
    });
    expect(id).toBeDefined();
  });

  test.concurrent.each(["Pending", "Submitting"])(
    "of which one is killed while %s is proposed are scheduled again within 10 s",
    async (name) => {
      await using state = await shareState();
      const over = new AbortController();
      let proposals = 0;
      await using proxy = await startReverseProxy(inject("apiUrl"), {
        onRequest: async (request) => {
          const isProposal = request.path.endsWith("/set_state") && request.body.includes(`"name":"${name}"`);
          if (over.signal.aborted || !isProposal) return undefined;
          // The server accepts Pending, and its response is lost. It never gets Submitting.
          if (++proposals === 1 && name === "Pending") return "lose-answer";
          await aborted(over.signal);
          return { status: 503 };
        },
      });
      const deployment = await deploy(state.api, state.pool, "hello");
      await using first = await state.start("first", { apiUrl: proxy.apiUrl });
      const { id } = await state.api.createFlowRun(deployment);
      await waitFor(async () => proposals > 0, { timeoutMs: 30_000, what: `the proposal of ${name}` });
      await state.api.waitForState(id, ["PENDING"], 10_000);
      await kill(first);
      over.abort();
      // Records belong to an API, so the next worker uses the same address.
      await using next = await state.start("next", { apiUrl: proxy.apiUrl });
      await next.waitForOutput(/is scheduled again/, 10_000);
      const { states } = await state.api.waitForState(id, ["COMPLETED"], ENGINE_TIMEOUT_MS);
      expect(states.filter(({ type }) => type === "RUNNING")).toHaveLength(1);
    },
  );

  test.concurrent("of which one was killed while it claimed are given back if the claim takes effect later", async () => {
    await using state = await shareState();
    const { api, pool } = state;
    const released = new AbortController();
    let proposals = 0;
    await using proxy = await startReverseProxy(inject("apiUrl"), {
      onRequest: async (request) => {
        const isClaim = request.path.endsWith("/set_state") && request.body.includes(`"name":"Pending"`);
        if (isClaim && ++proposals === 1) await aborted(released.signal);
        return undefined;
      },
    });
    const deployment = await deploy(api, pool, "hello");
    await using first = await state.start("first", { apiUrl: proxy.apiUrl });
    const { id } = await api.createFlowRun(deployment);
    await waitFor(async () => proposals > 0, { timeoutMs: 30_000, what: "the claim" });
    // No worker can claim it before the late claim takes effect.
    await api.request("PATCH", `/work_pools/${pool}`, { is_paused: true });
    await kill(first);
    await using next = await state.start("next", { apiUrl: proxy.apiUrl });
    await next.waitForOutput(/is Scheduled; nothing is left to do/, 20_000);
    released.abort();
    await next.waitForOutput(/is scheduled again; it was not started/, 30_000);
    await api.request("PATCH", `/work_pools/${pool}`, { is_paused: false });
    const { states } = await api.waitForState(id, ["COMPLETED"], ENGINE_TIMEOUT_MS);
    expect(states.filter(({ type }) => type === "RUNNING")).toHaveLength(1);
    await waitFor(async () => (await state.records()).length === 0, {
      timeoutMs: 20_000,
      what: "no record to be left",
    });
  });

  test.concurrent.each([
    ["crash", "CRASHED"],
    ["reschedule", "COMPLETED"],
  ] as const)("that died with it end by --on-lost %s", async (action, expected) => {
    await using state = await shareState();
    await using files = await makeTemporaryDirectory("lictor-hooks-");
    const file = join(files.path, "hooks");
    const hooked = { entrypoint: "hooks.py:work_with_hooks", jobVariables: { env: { HOOKS_FILE: file } } };
    const deployment = await deploy(state.api, state.pool, "hello", hooked);
    await using first = await state.start("first");
    const { id } = await state.api.createFlowRun(deployment, { parameters: { seconds: 6 } });
    await state.api.waitForState(id, ["RUNNING"], ENGINE_TIMEOUT_MS);
    const engines = await pidsWithEnvironment("PREFECT__FLOW_RUN_ID", id);
    await kill(first);
    for (const pid of engines) signalProcess(pid, "SIGKILL");
    await waitFor(async () => !engines.some(isAlive), { timeoutMs: 10_000, what: "the engine to end" });
    await using next = await state.start("next", { args: ["--on-lost", action] });
    const { flowRun, states } = await state.api.waitForState(id, [expected], ENGINE_TIMEOUT_MS);
    if (action === "crash")
      expect(flowRun.state?.message).toBe("The flow run's process ended while no worker watched it.");
    else expect(states.map(({ name }) => name)).toContain("Scheduled");
    expect(next.stdout).toContain("started!");
    await waitFor(async () => (await state.records()).length === 0, {
      timeoutMs: 60_000,
      what: "no record to be left",
    });
    expect(await readFile(file, "utf8").catch(() => "")).toBe(action === "crash" ? "crashed Crashed\n" : "");
  });

  test.concurrent("that died with it in a retry run again with --on-lost reschedule", async () => {
    needsPrefect("3.1.15", "the note that an engine waits for its retry itself");
    await using state = await shareState();
    const { api, pool } = state;
    const deployment = await deploy(api, pool, "sleep");
    await using first = await state.start("first");
    const { id } = await api.createFlowRun(deployment, { parameters: { seconds: 6 } });
    await api.request("PATCH", `/flow_runs/${id}`, { empirical_policy: { retries: 1, retry_delay: 0 } });
    await api.waitForState(id, ["RUNNING"], ENGINE_TIMEOUT_MS);
    const engines = await pidsWithEnvironment("PREFECT__FLOW_RUN_ID", id);
    await kill(first);
    for (const pid of engines) signalProcess(pid, "SIGKILL");
    expect((await api.setState(id, "FAILED")).state.name).toBe("AwaitingRetry");
    await api.setState(id, "RUNNING");
    await using _next = await state.start("next", { args: ["--on-lost", "reschedule"] });
    const isCompleted = async () => (await api.readFlowRun(id)).state_type === "COMPLETED";
    await waitFor(isCompleted, { timeoutMs: ENGINE_TIMEOUT_MS, what: "the second execution" });
    // Only a flow run that leaves a final state is returned to polls again.
    expect((await api.readStates(id)).map(({ type }) => type)).toContain("CRASHED");
  });

  test.concurrent("are continued by a worker that lives beside it, and name that worker", async () => {
    await using state = await shareState();
    const { api, pool } = state;
    await using files = await makeTemporaryDirectory("lictor-go-");
    const file = join(files.path, "go");
    const deployment = await deploy(api, pool, "hello", { jobVariables: { command: until(file) } });
    await using first = await state.start("first");
    const { id } = await api.createFlowRun(deployment);
    await first.waitForOutput(/^plain$/m, 30_000);
    await using beside = await state.start("beside");
    const workerLabel = async () => (await api.readFlowRun(id)).labels?.["prefect.worker.name"];
    const untilLabel = async (name: string): Promise<void> => {
      if (!isPrefectSince("3.1.0")) return;
      await waitFor(async () => (await workerLabel()) === name, { timeoutMs: 40_000, what: "the labels" });
    };
    await untilLabel("first");
    await kill(first);
    // It looks for dead workers every 30 s.
    await beside.waitForOutput(/Taking over flow run '.*' of worker 'first'/, 60_000);
    await untilLabel("beside");
    await writeFile(file, "");
    await beside.waitForOutput(/^done$/m, 20_000);
    await waitFor(async () => (await state.records()).length === 0, {
      timeoutMs: 20_000,
      what: "no record to be left",
    });
  });

  test.concurrent("that is alive are never taken over", async () => {
    await using state = await shareState();
    await using files = await makeTemporaryDirectory("lictor-go-");
    const file = join(files.path, "go");
    const deployment = await deploy(state.api, state.pool, "hello", { jobVariables: { command: until(file) } });
    await using first = await state.start("first");
    await state.api.createFlowRun(deployment);
    await first.waitForOutput(/^plain$/m, 30_000);
    first.signal("SIGSTOP");
    await using next = await state.start("next");
    await next.waitForOutput(/started!/, 10_000);
    expect(next.stderr).not.toMatch(/Taking over/);
    expect(await state.records()).toHaveLength(1);
    first.signal("SIGCONT");
    await writeFile(file, "");
    await first.waitForOutput(/^done$/m, 20_000);
  });
});

test("a worker whose journal cannot be written goes on, says so once, and /health shows it", async () => {
  await using state = await shareState();
  const deployment = await deploy(state.api, state.pool, "hello", { jobVariables: { command: "true" } });
  const port = await findFreePort();
  const env = { PREFECT_WORKER_WEBSERVER_PORT: String(port) };
  await using worker = await state.start("first", { args: ["--with-healthcheck", "--limit", "1"], env });
  await state.blockJournals();
  for (const name of ["one", "two"]) {
    await state.api.createFlowRun(deployment, { name });
    await worker.waitForOutput(new RegExp(`Flow run '${name}' submitted to infrastructure`), 20_000);
  }
  expect(worker.stderr.match(/The journal in .* cannot be written \(ENOTDIR\)/g)).toHaveLength(1);
  const health = await fetch(`http://127.0.0.1:${port}/health`);
  expect([health.status, await health.json()]).toEqual([200, { message: "OK", journal_problem: "ENOTDIR" }]);
});
