// What the next worker does with a program that reports nothing itself, and whose worker was killed.
import { existsSync } from "node:fs";
import { readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, inject, test } from "vitest";
import { aborted } from "../../src/async/sleep.ts";
import { pidsWithEnvironment, signalProcess } from "../support/processes.ts";
import { startReverseProxy } from "../support/reverse-proxy.ts";
import { startWorker, type WorkerOptions } from "../support/start-worker.ts";
import { makeTemporaryDirectory } from "../support/temporary-directory.ts";
import { waitFor } from "../support/wait-for.ts";
import { newPool, sharedApi } from "./deployments.ts";
import { deployScript, END_TIMEOUT_MS, readArtifacts, untilEnd } from "./programs.ts";

/** A pool, a state directory and a file that ends programs. */
async function shareState() {
  const api = sharedApi();
  const pool = await newPool(api);
  const directory = await makeTemporaryDirectory("lictor-state-");
  const file = join(directory.path, "go");
  return {
    api,
    pool,
    file,
    /** A script that says `ready`, waits for the file, and then does `rest`. */
    until: (rest: string) => `echo ready; until [ -e '${file}' ]; do sleep 0.1; done; ${rest}`,
    go: () => writeFile(file, ""),
    start: async (name: string, options: Partial<WorkerOptions> = {}) =>
      await startWorker(pool, {
        apiUrl: inject("apiUrl"),
        name,
        ...options,
        env: { LICTOR_STATE_DIR: join(directory.path, "state"), ...options.env },
      }),
    async run(script: string, jobVariables = {}) {
      return await api.createFlowRun(await deployScript(api, pool, script, jobVariables));
    },
    async untilNoRecord(): Promise<void> {
      const instances = join(directory.path, "state", "instances");
      const records = async () => {
        const names = existsSync(instances) ? await readdir(instances) : [];
        const lists = await Promise.all(names.map((name) => readdir(join(instances, name, "runs")).catch(() => [])));
        return lists.flat();
      };
      await waitFor(async () => (await records()).length === 0, { timeoutMs: 20_000, what: "no record to be left" });
    },
    [Symbol.asyncDispose]: () => directory[Symbol.asyncDispose](),
  };
}

async function kill(worker: Awaited<ReturnType<typeof startWorker>>): Promise<void> {
  worker.signal("SIGKILL");
  await worker.exited;
}

describe.concurrent("the program of a killed worker", { timeout: 180_000 }, () => {
  test.each([
    ["0", "COMPLETED", /^done$/],
    // A program that writes a result says itself why it failed.
    ["3", "FAILED", /^done$/],
    ["signal", "CRASHED", /^Process exited with status code: -15\./],
  ] as const)("that ends with %s while the next worker watches it is %s", async (code, type, message) => {
    await using state = await shareState();
    const { api } = state;
    await using first = await state.start("first");
    const end = code === "signal" ? "kill -15 $$" : `echo '"done"' >"$LICTOR_RESULT_FILE"; echo last; exit ${code}`;
    const { id } = await state.run(state.until(`echo '::progress 90'; ${end}`));
    await first.waitForOutput(/^ready$/m, END_TIMEOUT_MS);
    await api.waitForState(id, ["RUNNING"], END_TIMEOUT_MS);
    await kill(first);
    await using next = await state.start("next");
    await next.waitForOutput(/Taking over flow run/, 20_000);
    await state.go();
    const ended = await untilEnd(api, id, type);
    expect(ended.message).toMatch(message);
    expect(ended.names.filter((name) => name === "Running")).toHaveLength(1);
    expect(await readArtifacts(api, id)).toMatchObject([{ type: "progress", data: 90 }]);
    if (code !== "signal")
      await waitFor(async () => (await api.readLogs(id)).some((record) => record.message === "last"), {
        timeoutMs: 20_000,
        what: "the last line as a log record",
      });
    await state.untilNoRecord();
    expect(await readdir(join(first.home, "tmp"))).toEqual([]);
  });

  test.each([
    ["0", "COMPLETED"],
    ["3", "FAILED"],
    ["signal", "CRASHED"],
  ] as const)("that ended with %s while no worker watched it is %s", async (code, type) => {
    await using state = await shareState();
    const { api } = state;
    await using first = await state.start("first");
    const { id } = await state.run(state.until(code === "signal" ? "kill -9 $$" : `echo unseen; exit ${code}`));
    await first.waitForOutput(/^ready$/m, END_TIMEOUT_MS);
    await api.waitForState(id, ["RUNNING"], END_TIMEOUT_MS);
    await kill(first);
    await state.go();
    await waitFor(async () => (await pidsWithEnvironment("PREFECT__FLOW_RUN_ID", id)).length === 0, {
      timeoutMs: 20_000,
      what: "the program to end",
    });
    await using _next = await state.start("next");
    await untilEnd(api, id, type);
    if (code !== "signal")
      await waitFor(async () => (await api.readLogs(id)).some(({ message }) => message === "unseen"), {
        timeoutMs: 20_000,
        what: "the line that no worker had read as a log record",
      });
    await state.untilNoRecord();
  });

  test("has all its lines in the logs, also those that the killed worker had read and not sent", async () => {
    await using state = await shareState();
    const { api } = state;
    const over = new AbortController();
    await using proxy = await startReverseProxy(inject("apiUrl"), {
      onRequest: async ({ path }) => {
        if (over.signal.aborted || !path.endsWith("/logs/")) return undefined;
        await aborted(over.signal);
        // The worker that sent it is dead by then, and nothing of it may reach the server.
        return { status: 503 };
      },
    });
    await using first = await state.start("first", { apiUrl: proxy.apiUrl });
    const running = await state.run(state.until("echo later"));
    const ended = await state.run("echo first; echo last");
    await first.waitForOutput(/^ready$/m, END_TIMEOUT_MS);
    await untilEnd(api, ended.id, "COMPLETED");
    await kill(first);
    over.abort();
    await using _next = await state.start("next", { apiUrl: proxy.apiUrl });
    await state.go();
    await untilEnd(api, running.id, "COMPLETED");
    await state.untilNoRecord();
    const linesOf = async (id: string) =>
      (await api.readLogs(id)).filter(({ name }) => name === "prefect.flow_runs").map(({ message }) => message);
    expect(await linesOf(running.id)).toEqual(["ready", "later"]);
    expect(await linesOf(ended.id)).toEqual(["first", "last"]);
    expect((await untilEnd(api, ended.id, "COMPLETED")).names.at(-2)).toBe("Running");
  });

  test("that is killed with its worker, shell and all, is Crashed", async () => {
    await using state = await shareState();
    const { api } = state;
    await using first = await state.start("first");
    const { id } = await state.run(state.until("exit 0"));
    await api.waitForState(id, ["RUNNING"], END_TIMEOUT_MS);
    await kill(first);
    for (const pid of await pidsWithEnvironment("PREFECT__FLOW_RUN_ID", id)) signalProcess(pid, "SIGKILL");
    await using _next = await state.start("next");
    expect((await untilEnd(api, id, "CRASHED")).message).toBe(
      "The flow run's process ended while no worker watched it.",
    );
    await state.untilNoRecord();
  });

  test("is stopped by the next worker after a cancellation, or when its time is over", async () => {
    await using state = await shareState();
    const { api } = state;
    await using first = await state.start("first");
    const cancelled = await state.run(state.until("exit 0"));
    const slow = await state.run(state.until("exit 0"), { timeout_seconds: 12 });
    for (const { id } of [cancelled, slow]) await api.waitForState(id, ["RUNNING"], END_TIMEOUT_MS);
    await kill(first);
    await api.setState(cancelled.id, "CANCELLING");
    await using _next = await state.start("next");
    await untilEnd(api, cancelled.id, "CANCELLED");
    expect((await untilEnd(api, slow.id, "FAILED")).flowRun.state?.name).toBe("TimedOut");
    await state.untilNoRecord();
  });

  test.each([
    ["RUNNING", "before the server takes it", { status: 503 }],
    ["RUNNING", "after the server took it", "lose-answer"],
    ["COMPLETED", "before the server takes it", { status: 503 }],
    ["COMPLETED", "after the server took it", "lose-answer"],
    ["FAILED", "after the server decided on a retry", "lose-answer"],
  ] as const)("whose worker is killed while it proposes %s, %s, ends as it did", async (type, _when, answer) => {
    await using state = await shareState();
    const { api } = state;
    let proposals = 0;
    const over = new AbortController();
    await using proxy = await startReverseProxy(inject("apiUrl"), {
      onRequest: async ({ path, body }) => {
        if (over.signal.aborted || !path.endsWith("/set_state") || !body.includes(`"${type}"`)) return undefined;
        if (++proposals === 1) return answer;
        await aborted(over.signal);
        return { status: 503 };
      },
    });
    await using first = await state.start("first", { apiUrl: proxy.apiUrl });
    // A program that fails does so once.
    const tries = `echo try >>'${state.file}.tries'; ${type === "FAILED" ? `[ "$(wc -l <'${state.file}.tries')" -ge 2 ]` : "true"}`;
    const { id } = await state.run(tries, { retries: 1 });
    await waitFor(() => proposals > 0, { timeoutMs: END_TIMEOUT_MS, what: `the proposal of ${type}` });
    if (answer === "lose-answer") {
      const isTaken = async () =>
        (await api.readStates(id)).some((state) => state.type === type || state.name === "AwaitingRetry");
      await waitFor(isTaken, { timeoutMs: 20_000, what: `${type} to be taken` });
    }
    await kill(first);
    over.abort();
    await using _next = await state.start("next", { apiUrl: proxy.apiUrl });
    const isCompleted = async () => (await api.readFlowRun(id)).state_type === "COMPLETED";
    await waitFor(isCompleted, { timeoutMs: END_TIMEOUT_MS, what: "the flow run to be Completed" });
    await state.untilNoRecord();
    const names = (await api.readStates(id)).map(({ name }) => name).filter((name) => !/Pending|Submitting/.test(name));
    const once = ["Scheduled", "Running", "Completed"];
    expect(names).toEqual(type === "FAILED" ? ["Scheduled", "Running", "AwaitingRetry", ...once.slice(1)] : once);
  });
});
