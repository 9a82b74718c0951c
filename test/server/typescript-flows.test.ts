// Flows in TypeScript, as `lictor deploy --entrypoint` and a worker run them, judged by what the server shows.
import { mkdir, symlink } from "node:fs/promises";
import { dirname, join } from "node:path";
import { build } from "esbuild";
import { beforeAll, describe, expect, inject, test } from "vitest";
import type { JsonObject, LogRecord } from "../../src/api/wire.ts";
import { inCheckout } from "../support/checkout.ts";
import { isFull } from "../support/is-full.ts";
import { LICTOR, runLictor } from "../support/lictor.ts";
import type { PrefectApi } from "../support/prefect-api.ts";
import { pidsWithEnvironment } from "../support/processes.ts";
import { startWorker } from "../support/start-worker.ts";
import { makeTemporaryDirectory } from "../support/temporary-directory.ts";
import { waitFor } from "../support/wait-for.ts";
import { claimedStates, newPool, patientEnv, sharedApi } from "./deployments.ts";
import { END_TIMEOUT_MS, readArtifacts, untilEnd } from "./programs.ts";

// Flows are run by the `node` of PATH, which is the release that is tested.
const env = { ...patientEnv, PATH: `${dirname(LICTOR[0])}:${process.env.PATH}` };

interface TaskRunRecord {
  id: string;
  name: string;
  task_key: string;
  state_type: string;
  state_name: string;
  run_count: number;
  tags: string[];
  state: { message: string | null };
  task_inputs: JsonObject;
}

let directory: Awaited<ReturnType<typeof makeTemporaryDirectory>>;
beforeAll(async () => {
  directory = await makeTemporaryDirectory("lictor-typescript-");
  // As in a project that has installed lictor. Node.js 20 runs no TypeScript.
  await mkdir(join(directory.path, "node_modules"));
  await symlink(inCheckout("."), join(directory.path, "node_modules", "lictor"));
  await build({
    entryPoints: [inCheckout("test/fixtures/flows/typescript-flows.ts")],
    outfile: join(directory.path, "flows.mjs"),
    format: "esm",
  });
  return async () => await directory[Symbol.asyncDispose]();
});

/** Deploys flows of the fixture and starts a worker for them. */
async function openFlows(...names: string[]) {
  const api = sharedApi();
  const pool = await newPool(api);
  const ids = new Map<string, string>();
  for (const name of names) {
    const place = ["--working-dir", directory.path, "--entrypoint", `flows.mjs:${name}`];
    const { code, stdout, stderr } = await runLictor(["deploy", `${name}/${pool}`, "--pool", pool, ...place], { env });
    if (code !== 0) throw new Error(stderr);
    ids.set(name, /with id '(.*)'/.exec(stdout)?.[1] ?? "");
  }
  const worker = await startWorker(pool, { apiUrl: inject("apiUrl"), env: { PATH: env.PATH } });
  return {
    api,
    pool,
    worker,
    deployment: (name: string) => ids.get(name) ?? "",
    run: async (name: string, parameters: JsonObject = {}) =>
      await api.createFlowRun(ids.get(name) ?? "", { parameters }),
    /** Waits until the server has made the final states of this many task runs of its events. */
    taskRuns: async (id: string, count: number): Promise<TaskRunRecord[]> =>
      await waitFor(
        async () => {
          const found = await readTaskRuns(api, id);
          const isFinal = ({ state_type: type }: TaskRunRecord) => type !== "RUNNING" && type !== "SCHEDULED";
          return found.filter(isFinal).length === count && found;
        },
        // The server makes them one after the other.
        { timeoutMs: 180_000, what: `${count} task runs`, intervalMs: 500 },
      ),
    [Symbol.asyncDispose]: () => worker[Symbol.asyncDispose](),
  };
}

async function readTaskRuns(api: PrefectApi, id: string): Promise<TaskRunRecord[]> {
  const found: TaskRunRecord[] = [];
  for (;;) {
    const body = { task_runs: { flow_run_id: { any_: [id] } }, sort: "ID_DESC", offset: found.length };
    const page = await api.request<TaskRunRecord[]>("POST", "/task_runs/filter", body);
    found.push(...page);
    if (page.length < 200) return found;
  }
}

function byKey(runs: readonly TaskRunRecord[], key: string): TaskRunRecord {
  const found = runs.find(({ task_key }) => task_key === key);
  if (!found) throw new Error(`no task run of ${key}`);
  return found;
}

describe.concurrent("a flow in TypeScript", { timeout: 300_000 }, () => {
  test("has its schema, and shows its tasks, their states, logs and results", async () => {
    await using flows = await openFlows("all-kinds");
    const { api } = flows;
    const deployment = await api.request<JsonObject>("GET", `/deployments/${flows.deployment("all-kinds")}`);
    expect(deployment.parameter_openapi_schema).toMatchObject({
      properties: { who: { type: "string", position: 0 }, n: { type: "integer", default: 1 } },
      required: ["who"],
    });
    const { id } = await flows.run("all-kinds", { who: "you" });
    const { names, message } = await untilEnd(api, id, "COMPLETED");
    expect(names).toEqual(["Scheduled", ...claimedStates(), "Running", "Completed"]);
    expect(message).toBe('[42,3,"Task run exceeded timeout of 0.5 second(s)"]');
    expect(await readArtifacts(api, id)).toMatchObject([
      { type: "progress", data: 50 },
      { type: "markdown", data: "# Done" },
    ]);
    const runs = await flows.taskRuns(id, 4);
    expect(runs.map(({ task_key, state_name }) => `${task_key} ${state_name}`).sort()).toEqual([
      "add Completed",
      "nested Completed",
      "slow TimedOut",
      "unsteady Completed",
    ]);
    expect(byKey(runs, "nested").tags).toEqual(["outer"]);
    expect(byKey(runs, "add").task_inputs).toEqual({
      __parents__: [{ input_type: "task_run", id: byKey(runs, "nested").id }],
    });
    const unsteady = byKey(runs, "unsteady");
    expect(unsteady.run_count).toBe(3);
    const states = await api.request<{ name: string }[]>("GET", `/task_run_states/?task_run_id=${unsteady.id}`);
    expect(states.map(({ name }) => name)).toEqual([
      "Running",
      "AwaitingRetry",
      "Retrying",
      "AwaitingRetry",
      "Retrying",
      "Completed",
    ]);
    const logs = await waitFor(
      async () => {
        const found = await api.readLogs(id);
        return found.filter(({ task_run_id }) => task_run_id !== null).length === 3 && found;
      },
      { timeoutMs: 20_000, what: "the logs of the task run" },
    );
    const ofTask = (logs as LogRecord[]).filter(({ task_run_id }) => task_run_id === unsteady.id);
    expect(ofTask.map(({ level, message }) => [level, message])).toEqual(
      [1, 2, 3].map((attempt) => [30, `attempt ${attempt} {"attempt":${attempt}}`]),
    );
    expect(logs.find(({ message }) => message === "hello you 1")).toMatchObject({ level: 20, task_run_id: null });
  });

  test("that throws is Failed with the message of its error, and is retried", async () => {
    await using flows = await openFlows("failing", "third-time-lucky");
    const { api } = flows;
    const failing = await flows.run("failing");
    const retried = await flows.run("third-time-lucky", { file: join(directory.path, "tries") });
    expect((await untilEnd(api, failing.id, "FAILED")).message).toBe(
      "Flow run encountered an exception: RangeError: out of range",
    );
    const [doomed] = await flows.taskRuns(failing.id, 1);
    expect(doomed).toMatchObject({ state_type: "FAILED", run_count: 2 });
    expect(doomed?.state.message).toBe("Task run encountered an exception RangeError: out of range");
    const { names } = await untilEnd(api, retried.id, "COMPLETED");
    expect(names.filter((name) => name === "AwaitingRetry")).toHaveLength(2);
    expect(await flows.taskRuns(retried.id, 3)).toHaveLength(3);
  });

  test("has as many task runs as it wants, no more at once than it says", async () => {
    const count = isFull ? 1_000 : 100;
    await using flows = await openFlows("many");
    const { id } = await flows.run("many", { count });
    const { message } = await untilEnd(flows.api, id, "COMPLETED", 110_000);
    expect(message).toBe(`${count} of ${count}, at most 10 at once`);
    const runs = await flows.taskRuns(id, count);
    expect(runs).toHaveLength(count);
    expect(runs.filter(({ state_type }) => state_type !== "COMPLETED")).toEqual([]);
  });

  test("that is cancelled, or takes too long, gets an abort signal, and its tasks are Cancelled", async () => {
    await using flows = await openFlows("cancellable", "too-slow");
    const { api, worker } = flows;
    const slow = await flows.run("too-slow");
    expect((await untilEnd(api, slow.id, "FAILED")).flowRun.state?.name).toBe("TimedOut");
    const { id } = await flows.run("cancellable");
    await waitFor(() => (worker.stdout.match(/^ready$/gm) ?? []).length === 2, {
      timeoutMs: END_TIMEOUT_MS,
      what: "the second flow run",
    });
    await api.waitForState(id, ["RUNNING"], END_TIMEOUT_MS);
    await api.setState(id, "CANCELLING");
    await untilEnd(api, id, "CANCELLED");
    for (const flowRun of [slow.id, id])
      expect(await flows.taskRuns(flowRun, 1)).toMatchObject([
        { state_type: "CANCELLED", state: { message: "AbortError: The flow run was cancelled." } },
      ]);
    expect(worker.stdout).toContain('"msg":"tidied"');
    expect(await pidsWithEnvironment("PREFECT__FLOW_RUN_ID", id)).toEqual([]);
  });

  test("that does not return is never Completed", async () => {
    await using flows = await openFlows("never-resolved", "exits", "throws-outside");
    const expected: [name: string, message: string][] = [
      ["never-resolved", "Error: The flow waits for a promise that nothing can resolve any more."],
      ["exits", "Error: The process was ended before the flow. Return from the flow instead of calling exit."],
      ["throws-outside", "RangeError: outside"],
    ];
    for (const [name, message] of expected) {
      const { id } = await flows.run(name);
      const end = await untilEnd(flows.api, id, "FAILED");
      expect(end.message).toBe(`Flow run encountered an exception: ${message}`);
    }
  });

  test("that ends before its tasks leaves none in Running", async () => {
    await using flows = await openFlows("leaves-tasks");
    const { id } = await flows.run("leaves-tasks");
    expect((await untilEnd(flows.api, id, "FAILED")).message).toContain("too early");
    const runs = await flows.taskRuns(id, 2);
    expect(byKey(runs, "early").state_type).toBe("FAILED");
    expect(byKey(runs, "long")).toMatchObject({
      state_type: "CRASHED",
      state: { message: "The flow ended before this task run." },
    });
  });

  test("is Completed whatever it returns", async () => {
    await using flows = await openFlows("odd-result", "large-result");
    const odd = await flows.run("odd-result");
    expect((await untilEnd(flows.api, odd.id, "COMPLETED")).message).toBe(
      '{"one":{"n":"10"},"same":{"n":"10"},"self":"[circular]"}',
    );
    const large = await flows.run("large-result");
    expect((await untilEnd(flows.api, large.id, "COMPLETED")).message).toBeNull();
    await waitFor(
      async () => (await flows.api.readLogs(large.id)).some(({ message }) => /more than 10000 bytes/.test(message)),
      {
        timeoutMs: 20_000,
        what: "the word about the result",
      },
    );
  });

  test("that is cancelled can tidy up after its last task", async () => {
    await using flows = await openFlows("tidies-up");
    const { id } = await flows.run("tidies-up");
    await waitFor(() => /^ready$/m.test(flows.worker.stdout), { timeoutMs: END_TIMEOUT_MS, what: "the flow run" });
    await flows.api.waitForState(id, ["RUNNING"], END_TIMEOUT_MS);
    await flows.api.setState(id, "CANCELLING");
    await untilEnd(flows.api, id, "CANCELLED");
    expect(flows.worker.stdout).toMatch(/^tidied up$/m);
  });
});
